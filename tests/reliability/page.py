"""Writes the figures into `docs/reliability.md`, between two marks; the words around them stay."""

from typing import Final

from tests.reliability.figures import kept_figures
from tests.reliability.harness import HARNESSES, Harness
from tests.reliability.written_page import WrittenPage

PAGE: Final = WrittenPage("reliability.md", "make reliability")


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
    return PAGE.with_figures(text, figures_text())


def write_page() -> None:
    """Write the kept figures into the page."""
    PAGE.write(figures_text())
