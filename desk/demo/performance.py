"""Plays the scenes in their order, then holds the exchange's books against the sagas."""

import logging
import shlex
import time
from pathlib import Path
from typing import Final

import anyio

from brokers.paper import conservation_errors
from desk.demo.books_check import BooksCheck, check_books
from desk.demo.report import Checks, DemoReport, SceneReport
from desk.demo.scenes import IN_ORDER
from desk.demo.screen import Show
from desk.demo.stage import Pace, Stage, open_house
from desk.home import Home
from portfolio import books_errors
from portfolio.breaks import BrokerSide, find_breaks, of_books

_LOG: Final = logging.getLogger("desk.demo")


async def perform(
    home: Home, seed: int, pace: Pace, show: Show, *, kept: Path | None
) -> DemoReport:
    """Play everything.

    Args:
        home: an empty folder.
        seed: what is drawn.
        pace: how fast it goes.
        show: where it is shown.
        kept: the folder, if it stays when the demo is over.
    """
    began = time.monotonic()
    stage = Stage(home, seed, pace)
    stage.build()
    _greet(stage, show)
    scenes: list[SceneReport] = []
    wrong: list[str] = []
    books: BooksCheck | None = None
    try:
        for scene in IN_ORDER:
            scenes.append(await scene(stage, show))
            await anyio.sleep(pace.pause_seconds)
        books = await _check(stage, show, wrong)
    except BrokenPipeError:
        raise
    except Exception as error:  # whatever it is, it is reported, and the status says so
        _LOG.debug("the demo ended early", exc_info=True)
        wrong.append(f"{type(error).__name__}: {error}")
    seconds = time.monotonic() - began
    report = DemoReport(
        seed, seconds, str(kept) if kept else None, tuple(scenes), books, tuple(wrong)
    )
    _farewell(report, show)
    return report


def _greet(stage: Stage, show: Show) -> None:
    show.line("trade-saga: five scenes on PAPER. No real money, no network.", "bold")
    days = stage.market.days
    show.line(
        f"Real: {len(days):,} days of closes of {len(stage.market.stocks)} US stocks "
        f"({days[0].year} to {days[-1].year}), the store, the exchange's own books, the processes, "
        f"the SIGKILL. Seed {stage.seed} draws the days and the mishaps."
    )


async def _check(stage: Stage, show: Show, wrong: list[str]) -> BooksCheck:
    """Compare everything that has a book of its own with everything else."""
    show.line()
    show.line("The exchange's own books against the sagas", "bold")
    checks = Checks()
    async with open_house(stage.home) as house:
        records = [record async for record in house.store.records()]
        books = await house.exchange.books()
        found = check_books(books, records)
        show.fact("orders", f"{found.orders} in the exchange's books")
        checks.that(found.duplicates == 0, f"{found.duplicates} came twice")
        checks.that(found.missing == 0, f"{found.missing} are missing")
        checks.that(found.unexplained == 0, f"{found.unexplained} are unexplained")
        contradictions = conservation_errors(books)
        checks.that(not contradictions, "the exchange's cash and positions add up to its trades")
        differing = await books_errors(house.store)
        checks.that(not differing, "the portfolio's books follow from the journal, entry by entry")

        async def look() -> BrokerSide:
            return of_books(house.exchange.name, await house.exchange.books())

        breaks = [each.sentence for each in (await find_breaks(house.store, look)).breaks]
        checks.that(not breaks, "portfolio and exchange agree on every share and every cent")
    show.checks(checks)
    for sentence in dict.fromkeys((*found.findings, *contradictions, *differing, *breaks)):
        show.event("failed", sentence)
    wrong += [*contradictions, *differing, *breaks]
    return found


def _farewell(report: DemoReport, show: Show) -> None:
    show.line()
    if report.ok:
        show.event("success", f"Everything was as it should be, in {report.seconds:.1f} s.")
    else:
        show.event("failed", f"NOT everything was as it should be, in {report.seconds:.1f} s:")
        for fault in report.faults:
            show.event("failed", fault)
    show.line()
    if report.kept is None:
        show.line(
            "Nothing is left: store, books and diagrams were in a temporary folder. To keep them "
            "and look around:"
        )
        show.command("saga demo --keep ./saga-demo")
        return
    home = report.kept
    batch_id = next((s.batch.batch_id for s in report.scenes[1:] if s.batch), "BATCH_ID")
    show.line(
        f"Kept in {home}: saga.db (the store), exchange.db (the exchange's own books), "
        "diagrams/. Try next:"
    )
    for command in ("list", f"show {batch_id}", f"diagram {batch_id}"):
        show.command(f"saga {command} --home {shlex.quote(home)}")
