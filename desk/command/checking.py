"""`saga check` looks a store over, `saga doctor` the machine. Both change nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.progress import Progress

from desk.check import SEEN, UNSEEN, check_home
from desk.command.options import HomeOption, JsonOption
from desk.doctor import Verdict, examine
from desk.exit_codes import ExitCode
from desk.output import Column, Format, Screen, Value
from desk.session import Session

FINDING_COLUMNS = (
    Column("batch_id", "batch"),
    Column("rule", "rule"),
    Column("sentence", "what is wrong"),
    Column("what_to_do", "what to do"),
)


def check(
    context: typer.Context,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the store: chain, machine, views, invariants, and the books against the sagas.

    Exit status 0 if all is well, 1 if not. It may run beside the owner. Example: saga check --json
    """
    session = Session(context, home, as_json=as_json, forms=(Format.TABLE, Format.JSON))

    async def work() -> ExitCode:
        with _bar(session.screen) as on_saga:
            checked = await check_home(session.configured.home, on_saga)
        rows: list[dict[str, Value]] = [
            {
                "batch_id": each.batch_id,
                "rule": each.rule,
                "sentence": each.sentence,
                "what_to_do": each.what_to_do,
            }
            for each in checked.findings
        ]
        if session.screen.is_for_people:
            orders = "no exchange's books" if checked.orders is None else f"{checked.orders} orders"
            session.screen.text(f"{checked.sagas} sagas folded anew, {orders} compared.")
            session.screen.text(f"Looked for {SEEN}; not to be seen at rest: {UNSEEN}.")
            if rows:
                session.screen.table(FINDING_COLUMNS, rows)
            session.screen.text(f"{len(rows)} findings." if rows else "All is well.")
        else:
            session.screen.json(
                {
                    "ok": not rows,
                    "sagas": checked.sagas,
                    "orders": checked.orders,
                    "checked": SEEN.split(),
                    "not_seen_at_rest": UNSEEN.split(),
                    "findings": rows,
                }
            )
        return ExitCode.FAILED if rows else ExitCode.DONE

    session.run(work)


@contextmanager
def _bar(screen: Screen) -> Iterator[Callable[[int, int], None]]:
    if not screen.errors.is_terminal:
        yield lambda _done, _of: None
        return
    with Progress(console=screen.errors, transient=True) as progress:
        task = progress.add_task("sagas", total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def doctor(
    context: typer.Context,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look the machine over: Python, SQLite, disk, files, settings, the store's owner, clock.

    Exit status 0 unless something is bad. Example: saga doctor
    """
    session = Session(context, home, as_json=as_json, forms=(Format.TABLE, Format.JSON))

    async def work() -> ExitCode:
        points = await examine(session.configured)
        rows: list[dict[str, Value]] = [
            {"name": each.name, "verdict": each.verdict.value, "sentence": each.sentence}
            for each in points
        ]
        bad = any(each.verdict is Verdict.BAD for each in points)
        if session.screen.is_for_people:
            session.screen.pairs(
                [(each.name, f"{each.verdict}: {each.sentence}") for each in points]
            )
        else:
            session.screen.json({"points": rows, "ok": not bad})
        return ExitCode.FAILED if bad else ExitCode.DONE

    session.run(work)
