"""Writes down how far a long run has come, so that it can be broken off at any moment."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_down(path: Path, told: Mapping[str, Any]) -> None:
    """Put it in the place of what was written before, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
