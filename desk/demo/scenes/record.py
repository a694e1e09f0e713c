"""Scene 5: what the history says of all that, and where the picture of each batch lies."""

from typing import Final

from brokers.paper import PaperExchange
from desk.demo.follow import orders_of
from desk.demo.report import Checks, SceneReport
from desk.demo.screen import Show
from desk.demo.stage import Stage
from desk.output import Column, Value
from saga.diagrams import saga_way_svg
from saga.history import History
from saga.machine import SAGA_ENDS

_WIDE: Final = 90
"""A table on a screen that is narrower has only the columns that fit into 60."""

_COLUMNS: Final = (
    Column("batch_id", "Batch"),
    Column("scene", "Scene"),
    Column("status", "Status"),
    Column("state", "State"),
    Column("trades", "Trades", right=True),
    Column("orders", "Orders", right=True),
    Column("undo_cost", "Undo cost", right=True),
)
_FEW_COLUMNS: Final = tuple(c for c in _COLUMNS if c.name not in ("state", "trades", "undo_cost"))


async def play(stage: Stage, show: Show) -> SceneReport:
    """Show the record, and draw the pictures."""
    show.heading(
        5,
        "The record",
        "What the history says of these batches, oldest first. It is read from the file alone, as "
        "any other process could read it.",
    )
    checks = Checks()
    exchange = PaperExchange(stage.home.exchange)
    rows: list[dict[str, Value]] = []
    total = 0
    stage.home.diagrams.mkdir(mode=0o700, exist_ok=True)
    async with History(stage.home.store) as history:
        batches = (await history.recent())[::-1]
        for batch in batches:
            orders = await orders_of(exchange, [batch.batch_id])
            total += orders
            picture = stage.home.diagrams / f"{batch.batch_id}.svg"
            picture.write_text(saga_way_svg(await history.journal(batch.batch_id)), "utf-8")
            rows.append(
                {
                    "batch_id": batch.batch_id,
                    "scene": stage.played.get(batch.batch_id),
                    "status": batch.status,
                    "state": batch.state,
                    "trades": batch.total_trades,
                    "orders": orders,
                    "undo_cost": batch.undo_cost,
                }
            )
    show.table(_COLUMNS if show.width >= _WIDE else _FEW_COLUMNS, rows)
    show.line()
    show.fact("diagrams", f"{len(rows)} pictures, one for each batch, in {stage.home.diagrams}")
    checks.that(
        all(batch.state in SAGA_ENDS for batch in batches), "every batch has come to its end"
    )
    show.checks(checks)
    return SceneReport("record", None, (), total, checks.wrong)
