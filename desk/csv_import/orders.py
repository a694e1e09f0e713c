"""From rows to orders. Every complaint names line, column, value, rule and what to do.

Our own columns are `symbol`, `side`, `quantity`, and, where wanted, `limit_price`,
`time_in_force`, `directive_id`, `lot`, `tick`. A file is taken whole or not at all.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pydantic import ValidationError

from brokers.orders import Buy, Order, Sell, Side
from desk.csv_import.brokers import Layout, Trade, layout_of
from desk.csv_import.text import Row, as_record, checked_header, decoded, doubled, rows_of
from saga.errors import InvalidInput
from saga.wording import explain, shown

MAX_CSV_BYTES: Final = 32 * 1024 * 1024
"""Most bytes of a CSV file."""
MAX_CSV_ROWS: Final = 100_000
"""Most rows of a CSV file; the engine's own bound on directives is lower, and says so itself."""

REQUIRED: Final = ("symbol", "side", "quantity")
OPTIONAL: Final = ("limit_price", "time_in_force", "directive_id", "lot", "tick")
_NUMBERS: Final = frozenset({"quantity", "limit_price", "lot", "tick"})

TEMPLATE: Final = """\
symbol,side,quantity,limit_price,time_in_force,directive_id
KO,buy,50,,,
PG,buy,10,152.50,GTC,EXE_PG_LIMIT
"""
"""A file to begin with: one market order, and one limit order with all that can be said."""


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that is no order, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class ImportedOrders:
    """What a file says.

    Attributes:
        orders: in the order in which they are to be sent.
        skipped: rows of a broker's export that are no trades.
        layout: whose columns they are.
    """

    orders: tuple[Order, ...]
    skipped: tuple[SkippedRow, ...]
    layout: str


def read_orders(data: bytes, source: str, *, lot: Decimal | None = None) -> ImportedOrders:
    """Return the orders of a CSV file.

    Args:
        data: the file.
        source: its name, for complaints.
        lot: what quantities are whole numbers of, where the file has no column for it.

    Raises:
        InvalidInput: something is wrong with it; nothing is taken.
    """
    if len(data) > MAX_CSV_BYTES:
        raise InvalidInput(
            f"{source}: the file has {len(data)} bytes, more than the {MAX_CSV_BYTES} allowed; "
            "split it"
        )
    rows = rows_of(decoded(data, source), source)
    header = next(rows)
    names = checked_header(header, source)
    layout = layout_of(names)
    if layout is not None:
        return _export(_bounded(rows, source), names, layout, source, lot)
    names = _own_columns(header, names, source)
    orders = _own_orders(_bounded(rows, source), names, source, lot)
    return ImportedOrders(orders, (), "symbol, side, quantity")


def _bounded(rows: Iterable[Row], source: str) -> list[Row]:
    taken: list[Row] = []
    for row in rows:
        if len(taken) == MAX_CSV_ROWS:
            raise InvalidInput(
                f"{source}, line {row.line}: the file has more than {MAX_CSV_ROWS} rows; split it"
            )
        taken.append(row)
    if not taken:
        raise InvalidInput(f"{source}: there is no order under the header; add one a line")
    return taken


def _own_columns(header: Row, names: tuple[str, ...], source: str) -> tuple[str, ...]:
    where = f"{source}, line {header.line}"
    names = tuple(name.lower() for name in names)
    twice = doubled(names)
    if twice is not None:
        raise InvalidInput(f"{where}: column {twice!r} stands twice; remove one of them")
    known = (*REQUIRED, *OPTIONAL)
    missing = [name for name in REQUIRED if name not in names]
    if set(names).isdisjoint(known):
        raise InvalidInput(
            f"{where}: no column is known in the header {shown(','.join(header.fields))}; the "
            f"first line must name {', '.join(REQUIRED)} (`saga run --csv-template` shows a file)"
        )
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"is {near[0]!r} meant?" if near else f"known are {', '.join(known)}"
            raise InvalidInput(f"{where}: column {shown(name)} is not known; {hint}")
    if missing:
        raise InvalidInput(
            f"{where}: column {missing[0]!r} is missing; add it (there are: {', '.join(names)})"
        )
    return names


def _own_orders(
    rows: list[Row], names: tuple[str, ...], source: str, lot: Decimal | None
) -> tuple[Order, ...]:
    orders: list[Order] = []
    line_of: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{source}, line {row.line}"
        record = {name: text for name, text in as_record(row, names, source).items() if text}
        for name in REQUIRED:
            if name not in record:
                raise InvalidInput(f"{where}, column {name}: the field is empty; fill it in")
        side = record.pop("side").lower()
        if side not in ("buy", "sell"):
            raise InvalidInput(
                f"{where}, column side: {shown(side)} is neither 'buy' nor 'sell'; write one of "
                "them"
            )
        if "time_in_force" in record:
            record["time_in_force"] = record["time_in_force"].upper()
        order = _order(Side(side), record, where, number, lot)
        first = line_of.setdefault(order.directive_id, row.line)
        if first != row.line:
            raise InvalidInput(
                f"{where}, column directive_id: {order.directive_id!r} stands on line {first} "
                "already; give each order an id of its own, or leave all of them out"
            )
        orders.append(order)
    return tuple(orders)


def _export(
    rows: list[Row], names: tuple[str, ...], layout: Layout, source: str, lot: Decimal | None
) -> ImportedOrders:
    twice = doubled(tuple(name for name in names if name in layout.columns))
    if twice is not None:
        raise InvalidInput(f"{source}: column {twice!r} stands twice; export the file again")
    skipped: list[SkippedRow] = []
    trades: list[tuple[Row, Trade]] = []
    for row in rows:
        read = layout.read(as_record(row, names, source))
        if isinstance(read, Trade):
            trades.append((row, read))
        else:
            skipped.append(SkippedRow(row.line, read))
    if not trades:
        raise InvalidInput(
            f"{source}: none of the {len(rows)} rows of this {layout.name} export is a trade; "
            f"the first: line {skipped[0].line}, {skipped[0].reason}"
        )
    if layout.newest_first:
        trades.reverse()
    orders = [
        _order(
            trade.side,
            {"symbol": trade.symbol, "quantity": trade.quantity},
            f"{source}, line {row.line}",
            number,
            lot,
        )
        for number, (row, trade) in enumerate(trades, start=1)
    ]
    return ImportedOrders(tuple(orders), tuple(skipped), layout.name)


def _order(
    side: Side, record: dict[str, str], where: str, number: int, lot: Decimal | None
) -> Order:
    for name in sorted(_NUMBERS & record.keys()):
        if "," in record[name]:
            raise InvalidInput(
                f"{where}, column {name}: {shown(record[name])} has a comma in it; write decimals "
                "with a point, as in 1250.5, and no thousands separator"
            )
    fields: dict[str, object] = {"directive_id": f"EXE_{number:04}", **record}
    if lot is not None:
        fields.setdefault("lot", lot)
    try:
        return (Buy if side is Side.BUY else Sell).model_validate(fields)
    except ValidationError as error:
        sentence = explain(error)
        column = error.errors()[0]["loc"]
        comma = ", column " if column and sentence.startswith(f"{column[0]}") else ": "
        raise InvalidInput(f"{where}{comma}{sentence}") from None
