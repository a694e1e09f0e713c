"""The forms in which data is shown."""

from enum import StrEnum


class Format(StrEnum):
    """The forms of the data."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
