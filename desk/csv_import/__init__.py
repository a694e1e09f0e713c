"""Orders from a CSV file: our own columns, or what a broker exports."""

from desk.csv_import.orders import (
    MAX_CSV_BYTES,
    MAX_CSV_ROWS,
    TEMPLATE,
    ImportedOrders,
    SkippedRow,
    read_orders,
)

__all__ = [
    "MAX_CSV_BYTES",
    "MAX_CSV_ROWS",
    "TEMPLATE",
    "ImportedOrders",
    "SkippedRow",
    "read_orders",
]
