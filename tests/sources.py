"""Tells one state of the program from another by the digest of its sources."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


def files_of(parts: Sequence[str]) -> list[Path]:
    """Return every source in these files, and folders of files, of the project."""
    return sorted(file for part in parts for file in _files(ROOT / part))


def digest_of(files: Iterable[Path]) -> str:
    """Return the digest of these files of the project, their names included."""
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _files(part: Path) -> Iterable[Path]:
    return [part] if part.is_file() else part.rglob("*.py")
