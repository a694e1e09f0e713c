"""`saga check` looks a store over, `saga doctor` the machine. Both change nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

import typer
from rich.progress import Progress
from rich.text import Text

from desk.check import SEEN, UNSEEN, Checked, check_home
from desk.command.options import HomeOption, JsonOption
from desk.doctor import Verdict, examine
from desk.exit_codes import ExitCode
from desk.format import Format
from desk.output import Column, Money, Screen, Value
from desk.session import Session
from portfolio.breaks import Break, Says, SymbolTotal

FINDING_COLUMNS = (
    Column("batch_id", "batch"),
    Column("rule", "rule"),
    Column("sentence", "what is wrong"),
    Column("what_to_do", "what to do"),
)
BREAK_COLUMNS = (
    Column("number", "#", right=True),
    Column("kind", "break"),
    Column("owner", "whose"),
    Column("symbol", "symbol"),
    Column("journal", "journal", right=True),
    Column("broker", "broker", right=True),
    Column("portfolio", "books", right=True),
    Column("since", "since", spare=1),
)
TOTAL_COLUMNS = (
    Column("symbol", "in all"),
    Column("portfolio", "books", right=True),
    Column("broker", "broker", right=True),
    Column("difference", "difference", right=True),
    Column("explained", "explained", right=True),
    Column("by_breaks", "by breaks", right=True),
    Column("unexplained", "nobody's", right=True),
)
MAX_BREAKS_SHOWN: Final = 200
"""Most breaks that a person is shown at once; `--json` has them all."""


def check(
    context: typer.Context,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the store, and compare journal, broker and books: the break report.

    Exit status 0 if nothing is wrong (work under way is no break), 1 if there is a break or a
    finding, 4 if there is none but something waits for a person (a halt does), could not be
    compared, or has been unknown for over 60 seconds (an order without an answer, an undo that
    does not get through), 5 if the store or the broker's books cannot be read. It may run beside
    the owner, and changes nothing.

    Example: saga check --json
    """
    forms = (Format.TABLE, Format.JSON)
    session = Session(context, home, as_json=as_json, forms=forms, settings_matter=False)

    async def work() -> ExitCode:
        with _bar(session.screen) as on_saga:
            checked = await check_home(session.configured.home, on_saga)
        if session.screen.is_for_people:
            _show(checked, session.screen)
        else:
            session.screen.json(_as_json(checked))
        return checked.code

    session.run(work)


def _as_json(checked: Checked) -> dict[str, Any]:
    report = checked.report
    return {
        "ok": checked.code is ExitCode.DONE,
        "status": int(checked.code),
        "verdict": checked.verdict,
        "sagas": report.sagas,
        "orders": report.orders,
        "fills": report.fills,
        "checked": list(SEEN),
        "not_seen_at_rest": list(UNSEEN),
        "findings": _findings(checked),
        "breaks": [_break_as_json(each, checked) for each in report.breaks],
        "explained": [_break_as_json(each, checked) for each in report.explained],
        "trading": checked.trading.as_json(),
        "old_copy": checked.situation.old_copy,
        "copy_accepted_at": checked.situation.copy_accepted_at,
        "unattended": [
            {"batch_id": each.batch_id, "why": each.why, "what_to_do": each.what_to_do}
            for each in checked.unattended
        ],
        "waiting": [
            {
                "batch_id": each.batch_id,
                "waits_for": each.what,
                "client_order_id": each.client_order_id,
                "since": each.since,
                "questions": each.questions,
                "is_overdue": each.is_overdue,
                "what_to_do": each.what_to_do,
            }
            for each in checked.waiting
        ],
        "totals": [
            {
                "symbol": each.symbol,
                "portfolio": each.portfolio,
                "broker": each.broker,
                "difference": each.difference,
                "explained": each.explained,
                "by_breaks": each.by_breaks,
                "unexplained": each.unexplained,
            }
            for each in report.totals
        ],
    }


def _break_as_json(each: Break, checked: Checked) -> dict[str, Any]:
    return {
        "kind": each.kind.value,
        "owner": each.owner,
        "batch_id": each.batch_id,
        "symbol": each.symbol,
        "sentence": each.sentence,
        "journal": _says_as_json(each.journal),
        "broker": _says_as_json(each.broker),
        "portfolio": _says_as_json(each.portfolio),
        "since": each.since,
        "client_order_id": each.client_order_id,
        "trade_id": each.trade_id,
        "what_to_do": checked.advice_on(each),
        "explained": each.explained,
    }


def _says_as_json(says: Says | None) -> dict[str, Any] | None:
    return None if says is None else {"quantity": says.quantity, "cash": says.cash}


def _findings(checked: Checked) -> list[dict[str, Value]]:
    return [
        {
            "batch_id": each.batch_id,
            "rule": each.rule,
            "sentence": each.sentence,
            "what_to_do": each.what_to_do,
        }
        for each in checked.findings
    ]


def _show(checked: Checked, screen: Screen) -> None:
    report = checked.report
    orders = "no broker's books" if report.orders is None else f"{report.orders} orders of ours"
    screen.text(f"{report.sagas} sagas looked over; {report.fills} fills and {orders} compared.")
    screen.text(f"Looked for: {'; '.join(SEEN.values())}.")
    screen.text(f"Only a running system can show: {'; '.join(UNSEEN.values())}.")
    findings = _findings(checked)
    if findings:
        screen.text()
        screen.text(Text("Findings: what is wrong within the store or a saga", style="bold red"))
        screen.table(FINDING_COLUMNS, findings)
    _show_breaks(
        "Breaks: journal, broker and books differ", "bold red", report.breaks, checked, screen
    )
    _show_breaks("Explained: no breaks", "bold", report.explained, checked, screen)
    differing = [each for each in report.totals if each.difference]
    if differing:
        screen.text()
        screen.text(Text("Totals that differ: broker less books", style="bold"))
        screen.table(TOTAL_COLUMNS, [_total_line(each) for each in differing])
    if not checked.trading.is_active:
        sentence = checked.trading.sentence
        screen.text()
        screen.text(f"{sentence[0].upper()}{sentence[1:]}.")
    if checked.unattended:
        screen.text()
        for row in checked.unattended[:MAX_BREAKS_SHOWN]:
            screen.text(f"{row.batch_id} is {row.why}. To do: {row.what_to_do}.")
    if checked.waiting:
        screen.text()
        for each in checked.waiting[:MAX_BREAKS_SHOWN]:
            screen.text(f"{each.sentence}. To do: {each.what_to_do}.")
    screen.text()
    screen.text(Text(checked.verdict, style="bold"))


def _show_breaks(
    heading: str, style: str, breaks: Sequence[Break], checked: Checked, screen: Screen
) -> None:
    if not breaks:
        return
    shown = breaks[:MAX_BREAKS_SHOWN]
    screen.text()
    screen.text(Text(heading, style=style))
    screen.table(BREAK_COLUMNS, [_line(n, each) for n, each in enumerate(shown, start=1)])
    for number, each in enumerate(shown, start=1):
        screen.text(f"{number}. {each.sentence}. To do: {checked.advice_on(each)}.")
    if len(breaks) > len(shown):
        screen.text(f"and {len(breaks) - len(shown)} more: `saga check --json` has them all")


def _line(number: int, each: Break) -> dict[str, Value]:
    return {
        "number": number,
        "kind": each.kind.value,
        "owner": each.owner,
        "symbol": each.symbol,
        "journal": each.journal.words if each.journal else None,
        "broker": each.broker.words if each.broker else None,
        "portfolio": each.portfolio.words if each.portfolio else None,
        "since": each.since,
    }


def _total_line(each: SymbolTotal) -> dict[str, Value]:
    amount = Money if each.symbol is None else Decimal
    return {
        "symbol": each.symbol or "cash",
        "portfolio": amount(each.portfolio),
        "broker": amount(each.broker),
        "difference": amount(each.difference),
        "explained": amount(each.explained),
        "by_breaks": amount(each.by_breaks),
        "unexplained": amount(each.unexplained),
    }


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
