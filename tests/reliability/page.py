"""Writes the figures into `docs/reliability.md`, between two marks; the words around them stay."""

from pathlib import Path
from typing import Final

from tests.reliability.figures import ROOT, kept_figures
from tests.reliability.harness import HARNESSES, Harness

PAGE: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- figures: written by `make reliability`, not by hand -->"
END: Final = "<!-- end of the figures -->"


def figures_text() -> str:
    """Return the part of the page that is made of the kept figures."""
    return "\n\n".join(_section(harness) for harness in HARNESSES)


def _section(harness: Harness) -> str:
    kept = kept_figures(harness)
    if kept is None:
        return f"### {harness.title}\n\nNot run at its full size yet: `{harness.command}`."
    lines = [
        f"### {harness.title}",
        "",
        f"`{kept['command']}` at commit `{kept['commit']}`"
        f"{' and what was not committed yet' if kept['changed_since'] else ''}, {kept['at']}, "
        f"{kept['seconds']} s on {kept['machine']}.",
        "",
        "| | |",
        "| --- | ---: |",
        *(f"| {what} | {figure} |" for what, figure in harness.shown(kept["told"])),
    ]
    return "\n".join(lines)


def page_with_figures(text: str) -> str:
    """Return the page with the kept figures in it.

    Raises:
        ValueError: a mark is missing.
    """
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"docs/reliability.md has lost one of its marks: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{figures_text()}\n\n{END}{after}"


def write_page(path: Path = PAGE) -> None:
    """Write the figures into the page."""
    path.write_text(page_with_figures(path.read_text(encoding="utf-8")), encoding="utf-8")
