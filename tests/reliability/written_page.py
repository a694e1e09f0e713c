"""A page of the documents in which a program writes its figures between two marks."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FIGURES: Final = ROOT / "docs" / "figures"
END: Final = "<!-- end of the figures -->"


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """A page, by its name in `docs/`, and the command that writes the figures into it."""

    name: str
    command: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return ROOT / "docs" / self.name

    @property
    def begin(self) -> str:
        """The mark behind which the figures stand."""
        return f"<!-- figures: written by `{self.command}`, not by hand -->"

    def with_figures(self, text: str, figures: str) -> str:
        """Return a text of the page with these figures in it; the words around them stay.

        Raises:
            ValueError: a mark is missing.
        """
        before, mark, rest = text.partition(self.begin)
        _, end, after = rest.partition(END)
        if not mark or not end:
            raise ValueError(f"docs/{self.name} has lost one of its marks: {self.begin} and {END}")
        return f"{before}{self.begin}\n\n{figures}\n\n{END}{after}"

    def write(self, figures: str) -> None:
        """Write the figures into the page."""
        text = self.path.read_text(encoding="utf-8")
        self.path.write_text(self.with_figures(text, figures), encoding="utf-8")


def git(*arguments: str) -> str:
    """Return what git says of the project; empty if it says nothing."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def commit_at_hand() -> str:
    """Return the commit that the figures come from, and whether it is all that they come from."""
    commit = git("rev-parse", "--short=12", "HEAD") or "unknown"
    changed = git("status", "--porcelain", "--", ".", ":!docs")  # the figures themselves go there
    return f"{commit} with changes" if changed else commit


def instant_at_hand() -> str:
    """Return the instant as the pages say it, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
