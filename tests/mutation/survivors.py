"""Reads `survivors.toml`: the mutants that no test can kill, each with the reason why.

A reason says why nobody could tell the difference, or why the place cannot be reached. "No
test looks at it" is no reason, but a test that is missing.
"""

import tomllib
from pathlib import Path
from typing import Final

from tests.mutation.operators import Site

FILE: Final = Path(__file__).with_name("survivors.toml")
SHORTEST_REASON: Final = 20


class Unexplained(ValueError):
    """An entry says nothing, or stands twice."""


def entries(file: Path) -> list[tuple[Site, dict[str, str]]]:
    """Return every entry of a file, with the mutant that it names."""
    listed = tomllib.loads(file.read_text(encoding="utf-8")).get("survivor", ())
    return [(Site(e["where"], e["was"], e["became"], e.get("number", 1)), e) for e in listed]


def explanations(file: Path = FILE) -> dict[Site, str]:
    """Return why each known survivor survives.

    Raises:
        Unexplained: an entry has no reason, or stands twice.
    """
    known: dict[Site, str] = {}
    for site, entry in entries(file):
        why = " ".join(entry.get("why", "").split())
        if len(why) < SHORTEST_REASON:
            raise Unexplained(f"{site} survives without a reason; write down why nobody can tell")
        if site in known:
            raise Unexplained(f"{site} stands twice in {file.name}; leave one of them out")
        known[site] = why
    return known


def as_toml(site: Site) -> str:
    """Return an entry to be completed by a person."""
    quoted = {"where": site.where, "was": site.was, "became": site.became}
    lines = ["[[survivor]]", *(f"{name} = {_quoted(text)}" for name, text in quoted.items())]
    if site.number > 1:
        lines.append(f"number = {site.number}")
    return "\n".join((*lines, 'why = ""'))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f"'{text}'" if "'" not in text else f'"{escaped}"'
