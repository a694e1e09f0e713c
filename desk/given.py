"""What was given on the command line before the command's name."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Given:
    """What was given before the command's name; a command finds it as `ctx.obj`."""

    home: Path | None = None
    config: Path | None = None
