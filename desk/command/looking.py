"""The commands that only read, beside whoever owns the store: `saga list`, `show`, and the like."""

from datetime import UTC, datetime
from typing import Annotated, Any

import anyio
import typer
from pydantic import TypeAdapter
from rich.text import Text

from desk import batch_report
from desk.blocking import blocker_of, waiting_words
from desk.carrier import carrier_of
from desk.command.options import BatchArgument, CursorOption, HomeOption, JsonOption, OutputOption
from desk.exit_codes import ExitCode
from desk.foremost import few
from desk.format import Format
from desk.holdings_report import read_holdings, show_holdings
from desk.logbook_told import LOGBOOK_COLUMNS, read_page
from desk.old_copy import old_copy_of
from desk.output import Column, Value, instant
from desk.session import Session
from desk.telling import Concerned, Teller
from desk.trading_state import say_trading
from portfolio.books import read_names
from portfolio.naming import exclusion_key
from saga.errors import InvalidInput
from saga.history import History, Progress
from saga.machine import SAGA_AT_REST
from saga.model import ExecutionMode, Priority
from saga.query import BatchQuery, BatchSort, checked_limit
from saga.store.protocol import JournalRecord
from saga.store.sqlite_reader import SqliteReader
from saga.views import BatchRow, BatchStatus
from saga.wording import shown

FOLLOW_SECONDS = 0.3
"""How often a followed journal is read."""
MAX_TELLERS = 1_000
"""Most batches that `saga events` keeps in mind at once; others are read again."""

_WAITING_SHOWN = 20
"""Most batches of which `saga list` says what they wait for."""

_MAX_CURSOR = 18
"""Most digits of a cursor: it is an entry's number, as SQLite can hold it."""

BATCH_COLUMNS = (
    Column("batch_id", "batch"),
    Column("status", "status"),
    Column("mode", "mode", spare=1),
    Column("progress", "over", right=True),
    Column("failed_trades", "of those failed", right=True),
    Column("undone_trades", "reversed", right=True),
    Column("created_at", "accepted", spare=2),
    Column("exclusion_key", "alone on", spare=3),
)
_RECORD: TypeAdapter[Any] = TypeAdapter(Any)


def list_batches(
    context: typer.Context,
    status: Annotated[
        list[BatchStatus] | None, typer.Option(help="Only this status; may be repeated.")
    ] = None,
    mode: Annotated[list[ExecutionMode] | None, typer.Option(help="Only this mode.")] = None,
    priority: Annotated[list[Priority] | None, typer.Option(help="Only this priority.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only this exclusion key.")] = None,
    portfolio: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this portfolio.")
    ] = None,
    symbol: Annotated[
        str | None, typer.Option(metavar="SYMBOL", help="Only with a trade in it.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only with this in its reason.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="WHEN", help="Accepted then or later (UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="WHEN", help="Accepted before then (UTC).")
    ] = None,
    sort: Annotated[BatchSort, typer.Option(help="What to sort by.")] = BatchSort.CREATED,
    ascending: Annotated[bool, typer.Option("--ascending", help="The first one first.")] = False,
    limit: Annotated[int, typer.Option(help="Most rows.")] = 50,
    cursor: CursorOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """List batches, the latest first.

    Exit status 4 if the store is an older copy of itself, so that the list may lack batches.
    Example: saga list --status failed --status stale --from 2026-11-01
    """
    session = Session(context, home, as_json=as_json, output=output, settings_matter=False)
    if key is not None and portfolio is not None:
        raise InvalidInput("--key and --portfolio say the same thing; give one of them")
    query = BatchQuery(
        statuses=tuple(status or ()),
        modes=tuple(mode or ()),
        priorities=tuple(priority or ()),
        exclusion_key=exclusion_key(portfolio) if portfolio is not None else key,
        symbol=symbol,
        reason_contains=reason,
        created_from=_when("--from", since),
        created_to=_when("--to", until),
        sort=sort,
        descending=not ascending,
        limit=limit,
        cursor=cursor,
    )

    async def work() -> ExitCode:
        async with session.history() as history:
            page = await history.batches(query)
            active = await history.active()
            aside = tuple(await history.quarantined())
            carrier = await carrier_of(session.configured.home)
            waiting = {
                row.batch_id: waiting_words(row, await blocker_of(history, row))
                for row in page.rows
                if row.state not in SAGA_AT_REST
            }
        screen = session.screen
        rows = [_batch_line(row) for row in page.rows]
        if screen.form in (Format.JSON, Format.JSONL):
            rows = [batch_report.batch_as_json(row) for row in page.rows]
        older = await old_copy_of(session.configured.home)
        beside = {
            "next_cursor": page.next_cursor,
            "carried_on_by": carrier.pid,
            "old_copy": older,
        }
        screen.rows(BATCH_COLUMNS, rows, wrapper="batches", beside=beside, empty="No batches.")
        if older is not None:
            screen.say(f"{older[0].upper()}{older[1:]}.", style="bold red")
        await say_trading(session)
        if active:
            screen.say(f"{len(active)} unfinished: {carrier.sentence_of(active)}.")
        on_page = {row.batch_id for row in page.rows}
        elsewhere = [row.batch_id for row in active if row.batch_id not in on_page]
        if elsewhere:
            screen.say(f"Unfinished, and not on this page: {few(elsewhere)}.")
        if aside:
            screen.say(f"Set aside, which waits for a person: {few(aside)}.", style="bold red")
        late = [row.batch_id for row in page.rows if row.incidents]
        if late:
            screen.say(
                f"{len(late)} {'has' if len(late) == 1 else 'have'} open incidents (the broker "
                f"told of them after their end): see `saga show {late[0]}`.",
                style="bold red",
            )
        for batch_id, words in list(waiting.items())[:_WAITING_SHOWN]:
            if words:
                screen.say(f"{batch_id} {words}.")
        if page.next_cursor and screen.form is not Format.JSON:
            screen.say(f"More: the same with --cursor {page.next_cursor}")
        return ExitCode.DONE if older is None else ExitCode.UNCERTAIN

    session.run(work)


def _batch_line(row: BatchRow) -> dict[str, Value]:
    progress = Progress.of(row)
    return {
        "batch_id": row.batch_id,
        "status": batch_report.status_word(row),
        "mode": row.mode,
        "progress": f"{progress.processed}/{progress.total}",
        "failed_trades": row.failed_trades or None,
        "undone_trades": row.undone_trades or None,
        "created_at": row.created_at,
        "exclusion_key": row.exclusion_key,
    }


def _when(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{option}: {text!r} is no date or time; write it like 2026-11-21 or "
            "2026-11-21T09:30:00Z"
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def show(
    context: typer.Context,
    batch_id: BatchArgument,
    home: HomeOption = None,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Show one batch: its trades, what it waits for, what is in place, what to do now.

    Example: saga show BAT_20261121_093000_k3v9x
    """
    forms = (Format.TABLE, Format.JSON, Format.CSV)
    session = Session(
        context, home, as_json=as_json, output=output, forms=forms, settings_matter=False
    )

    async def work() -> ExitCode:
        async with session.history() as history:
            carrier = await carrier_of(session.configured.home)
            report = await batch_report.read_report(history, batch_id, carrier)
        screen = session.screen
        if screen.form is Format.JSON:
            screen.json(batch_report.as_json(report))
        elif screen.form is Format.CSV:
            lines = [batch_report.trade_line(trade, report) for trade in report.trades]
            screen.rows(batch_report.TRADE_COLUMNS, lines)
        else:
            batch_report.show(report, screen)
        return ExitCode.DONE

    session.run(work)


def events(
    context: typer.Context,
    batch_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only of this batch.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until Ctrl-C.")
    ] = False,
    after: Annotated[
        int, typer.Option(metavar="N", help="Only behind this sequence number.", min=0)
    ] = 0,
    home: HomeOption = None,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Show the journal, record by record; with --json one JSON object a line.

    Example: saga events --follow --after 120
    """
    form = Format.JSONL if as_json and output in (None, Format.JSON) else output
    forms = (Format.TABLE, Format.JSONL)
    session = Session(context, home, output=form, forms=forms, settings_matter=False)

    async def work() -> ExitCode:
        last = after
        tellers: dict[str, Teller] = {}
        async with session.history() as history:
            if batch_id is not None:
                await history.batch(batch_id)
            while True:
                records = await history.records(after=last, batch_id=batch_id)
                for record in records:
                    words, order = await _told(history, tellers, record)
                    _show_record(session, record, words, order, one_batch=batch_id is not None)
                    last = record.sequence
                    session.when_interrupted = (
                        f"`saga events --follow --after {last}` goes on from here."
                    )
                if session.screen.is_unread or (not records and not follow):
                    return ExitCode.DONE
                if not records:
                    await anyio.sleep(FOLLOW_SECONDS)

    session.run(work)


async def _told(
    history: History, tellers: dict[str, Teller], record: JournalRecord
) -> tuple[str, Concerned | None]:
    """Tell a record, after all that its batch's journal has before it."""
    teller = tellers.get(record.batch_id)
    if teller is None:
        if len(tellers) >= MAX_TELLERS:
            tellers.pop(next(iter(tellers)))
        teller = tellers[record.batch_id] = Teller()
        if record.number > 1:
            for earlier in await history.journal(record.batch_id):
                if earlier.number < record.number:
                    teller.tell(earlier)
    return teller.tell(record)


def _show_record(
    session: Session,
    record: JournalRecord,
    words: str,
    order: Concerned | None,
    *,
    one_batch: bool,
) -> None:
    if session.screen.form is Format.JSONL:
        session.screen.json_line(
            {
                "sequence": record.sequence,
                "batch_id": record.batch_id,
                "number": record.number,
                "at": record.at,
                "kind": record.event.kind,
                "words": words,
                "order": None if order is None else order.as_json(),
                "data": _RECORD.dump_python(record.event, mode="json"),
            }
        )
        return
    whose = "" if one_batch else f" {record.batch_id}"
    line = f"{record.sequence:>5} {instant(record.at)}{whose} {record.event.kind}"
    session.screen.text(Text(line, style="bold") + Text(f"  {words}" if words else ""))
    session.screen.flush()


def logbook(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="Most entries.")] = 50,
    cursor: CursorOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Show what happened to the engine itself, the latest first: starts, halts, limits, alerts.

    What happened to batches is in `saga events`. Example: saga logbook --limit 10
    """
    session = Session(context, home, as_json=as_json, output=output, settings_matter=False)
    most, before = checked_limit(limit), _place(cursor)

    async def work() -> ExitCode:
        async with SqliteReader(session.configured.home.store) as reader:
            page, place = await reader.read(read_page, most, before)
        screen = session.screen
        is_json = screen.form in (Format.JSON, Format.JSONL)
        screen.rows(
            LOGBOOK_COLUMNS,
            [each.as_json() if is_json else each.line() for each in page],
            wrapper="entries",
            beside={"next_cursor": None if place is None else str(place)},
            empty="No entries.",
        )
        await say_trading(session)
        if place is not None and screen.form is not Format.JSON:
            screen.say(f"More: the same with --cursor {place}")
        return ExitCode.DONE

    session.refuse_without_store()
    session.run(work)


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _MAX_CURSOR):
        raise InvalidInput(
            f"--cursor: {shown(cursor)} is not where a page of the logbook ended; take the one "
            "that the page before has told"
        )
    return int(cursor)


def portfolio(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Which. [default: main]")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Show a portfolio's books: cash, holdings, what is reserved, and whether it is in order.

    Exit status 4 if a person should look: it is stale, an incident of it is open, nobody can say
    what became of an order, or the store is an older copy of itself. Example: saga portfolio --json
    """
    session = Session(context, home, as_json=as_json, output=output, settings_matter=False)
    wanted = name or session.configured.settings.portfolio

    async def work() -> ExitCode:
        store = session.configured.home.store
        async with SqliteReader(store) as reader, session.history() as history:
            holdings = await read_holdings(reader, history, wanted, session.configured.home)
            names = await reader.read(read_names)
            active = await history.active()
        if holdings is None:
            known = ", ".join(names) or "none as yet"
            raise InvalidInput(f"portfolio {wanted!r} has no books; there are: {known}")
        carrier = await carrier_of(session.configured.home)
        show_holdings(holdings, active, carrier, session.screen)
        return ExitCode.UNCERTAIN if holdings.needs_a_person else ExitCode.DONE

    session.run(work)
