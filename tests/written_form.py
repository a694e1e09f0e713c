"""The written form of a journal's records, as whoever reads the file without the engine knows it.

A promise that files of every version rely on: what is missing from a record means what stands
here. To change a value here is to change what old journals say; only add.
"""

import json
from typing import Any, Final

LEFT_OUT: Final[dict[str, dict[str, Any]]] = {
    "resumed": {"taken_over": False},
    "intended": {"limits": None},
    "sent_again": {"limits": None},
    "reported": {"fills": [], "reason": None, "reference": None},
    "late_truth": {"fills": [], "reversed": [], "reason": None, "reference": None},
    "not_found": {"tombstone": False},
    "completed": {"reason": None},
    "retried": {"undo_budget": None, "seen": None},
    "resolved": {"adjustments": [], "seen": None},
    "incident_closed": {"action": "", "adjustments": []},
}
"""What a record does not say, by its kind."""

LEFT_OUT_WITHIN: Final[dict[str, dict[str, Any]]] = {
    "fills": {"price": "0", "fee": "0", "at": None},
    "residual": {"price": None, "unproven": []},
    "adjustments": {"reference": None},
}
"""What the objects in a record's list do not say, by the list's name."""


def whole_record(kind: str, text: str) -> dict[str, Any]:
    """Return a record with everything it leaves out."""
    data = _whole(json.loads(text), LEFT_OUT.get(kind, {}))
    for name, left_out in LEFT_OUT_WITHIN.items():
        if name in data:
            data[name] = [_whole(each, left_out) for each in data[name]]
    if kind == "submitted":
        data["batch"]["directives"] = _each(data["batch"]["directives"])
    return data


def _whole(data: dict[str, Any], left_out: dict[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in data.items() if name not in left_out}
    return said | {name: data.get(name, value) for name, value in left_out.items()}


def _each(directives: Any) -> Any:
    if isinstance(directives, list):
        return directives
    alike, fields = directives["alike"], directives["fields"]
    return [alike | dict(zip(fields, row, strict=True)) for row in directives["each"]]
