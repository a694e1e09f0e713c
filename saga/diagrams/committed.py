"""The pictures that are kept with the code: which there are, how they are written and compared."""

from pathlib import Path
from typing import Final

from saga.diagrams.graph import Graph, saga_graph, step_graph
from saga.diagrams.mermaid import machine_mermaid
from saga.diagrams.overview import overview_svg
from saga.diagrams.picture import machine_svg
from saga.diagrams.text import clean

DEFAULT_FOLDER: Final = Path("diagrams")
"""Where the checkout keeps them, seen from its top."""


def committed_files() -> dict[str, str]:
    """Return the content of every file of the folder, by its name, as the code has it now."""
    saga, step = saga_graph(), step_graph()
    return {
        "README.md": _readme(saga, step),
        "overview.svg": overview_svg(),
        "saga.mmd": machine_mermaid(saga),
        "saga.svg": machine_svg(saga, with_when=True),
        "step.mmd": machine_mermaid(step),
        "step.svg": machine_svg(step),
    }


def write_all(folder: Path) -> list[Path]:
    """Write every file that differs from the code, and return those.

    Args:
        folder: is made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = committed_files()
    stale = differing(folder)
    for path in stale:
        path.write_bytes(files[path.name].encode())
    return stale


def differing(folder: Path) -> list[Path]:
    """Return the files that are missing or differ from the code, byte for byte."""
    return [
        folder / name
        for name, content in committed_files().items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != content.encode()
    ]


def _readme(saga: Graph, step: Graph) -> str:
    return "\n".join(
        [
            "# State diagrams",
            "",
            "Drawn from the transition tables in `saga/machine.py` by `python -m saga.diagrams`.",
            "Nothing here is written by hand: change the table, run the command, and review the",
            "difference. A test fails when a file here differs from the code.",
            "",
            "How to read them: the dot is where a life begins; a double frame is where it ends for",
            "ever. Lines that meet at a small dot are the same trigger from several states. Lines",
            "that cross without a dot have nothing to do with each other.",
            "",
            "`saga diagram BATCH_ID` draws one saga's own way through them.",
            "",
            *_section(saga),
            *_section(step),
            "## How one order goes",
            "",
            "![How one order goes: submit, record, send, record](overview.svg)",
            "",
        ]
    )


def _section(graph: Graph) -> list[str]:
    return [
        f"## {graph.title}",
        "",
        f"![{graph.title}]({graph.name}.svg)",
        "",
        "| trigger | from | to | when |",
        "| --- | --- | --- | --- |",
        *(
            f"| {_cell(a.trigger)} | {_cell(a.source)} | {_cell(a.dest)} | {_cell(a.when)} |"
            for a in graph.arrows
        ),
        "",
        f"The same as Mermaid ([`{graph.name}.mmd`]({graph.name}.mmd)):",
        "",
        "```mermaid",
        machine_mermaid(graph).rstrip("\n"),
        "```",
        "",
    ]


def _cell(text: str) -> str:
    return clean(text).replace("|", "\\|")
