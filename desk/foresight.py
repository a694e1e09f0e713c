"""What the gate would say of a batch as the store is now, and what only a run can tell.

The gate is the run's own, told of the orders that the journal has, and asked about each leg. It
waits for nothing here, so that the rate of orders is reckoned and not judged. Nothing is stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from brokers.paper import PaperExchange
from brokers.risk import RiskGate, RiskLimits
from desk.settings import Configured
from desk.trading_state import read_standing, refuse_while_halted
from desk.wiring import gate_of
from saga.errors import AdmissionRefused, NotAllowed, SagaError
from saga.gate import PastIntent, Refusal
from saga.ids import Purpose, attempt_key, batch_of_key
from saga.logbook import TradingState
from saga.model import Batch
from saga.participant import Attempt
from saga.store.past_intents import read_since
from saga.store.sqlite_reader import SqliteReader
from saga.wording import counted

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What the gate would say.

    Attributes:
        refusal: why the trading state or a limit would hold the batch back; None if none would.
        judged: what was judged by the orders that went out before, a sentence each.
        not_judged: what only a run can tell, a sentence each.
    """

    refusal: SagaError | None
    judged: tuple[str, ...]
    not_judged: tuple[str, ...]


async def foresee(
    configured: Configured, exchange: PaperExchange, batch: Batch, *, undoes: bool
) -> Foreseen:
    """Return what the gate would say of a batch.

    Args:
        configured: the folder and its settings.
        exchange: the desk's, which has prices and holdings.
        batch: a batch that has passed the engine's door; its orders bear reference prices.
        undoes: what took effect is undone when it fails.
    """
    gate, now = gate_of(configured, exchange), datetime.now(UTC)
    terms = gate.terms
    state, past = await _as_it_is(configured, gate, now)
    past = [each for each in past if batch_of_key(each.key) != batch.batch_id]
    return Foreseen(
        await _refusal(configured, gate, batch, state, past),
        tuple(_judged(terms, batch, past, now)),
        tuple(_not_judged(terms, batch, past, now, undoes=undoes)),
    )


async def _as_it_is(
    configured: Configured, gate: RiskGate, now: datetime
) -> tuple[TradingState, list[PastIntent]]:
    """Return which orders may go out, and what went out as far back as the gate remembers."""
    home = configured.home
    if not home.store.exists():
        return TradingState.ACTIVE, []
    async with SqliteReader(home.store) as reader:
        standing = await reader.read(read_standing, home)
        return standing.said.state, await reader.read(read_since, now - gate.memory)


async def _refusal(
    configured: Configured,
    gate: RiskGate,
    batch: Batch,
    state: TradingState,
    past: Sequence[PastIntent],
) -> SagaError | None:
    try:
        await refuse_while_halted(configured.home)
    except NotAllowed as error:
        return error
    refusal = await gate.judge_batch(batch, datetime.now(UTC))
    if refusal is not None:
        return AdmissionRefused(refusal.sentence)
    for each in past:
        gate.recall(each)
    # Here a leg would really wait for its turn; what is known of the rate, `_rate` says.
    gate.terms = gate.terms.model_copy(
        update={"max_orders_per_second": None, "max_compensations_per_second": None}
    )
    withheld = [
        f"leg {number}: {refusal.sentence}"
        for number, attempt in enumerate(_attempts(batch), start=1)
        if (refusal := await _judge(gate, attempt, batch, state)) is not None
    ]
    if not withheld:
        return None
    of_all = f"{len(withheld)} of {len(batch.directives)} legs would not pass"
    return AdmissionRefused(f"{of_all}, for example {withheld[0]}")


async def _judge(
    gate: RiskGate, attempt: Attempt, batch: Batch, state: TradingState
) -> Refusal | None:
    if state is TradingState.REDUCING:
        refusal = await gate.lowers_exposure(attempt, batch)
        if refusal is not None:
            return refusal
    return await gate.judge(attempt, batch, datetime.now(UTC))


def _attempts(batch: Batch) -> Iterator[Attempt]:
    for step, directive in enumerate(batch.directives):
        key = attempt_key(batch.batch_id, step, Purpose.FORWARD, 1)
        yield Attempt(key, batch.batch_id, step, Purpose.FORWARD, 1, directive)


def _judged(
    terms: RiskLimits, batch: Batch, past: Sequence[PastIntent], now: datetime
) -> Iterator[str]:
    if terms.max_orders_per_day is not None:
        yield (
            f"max_orders_per_day: {_in_last_day(past, Purpose.FORWARD, now)} went out within the "
            f"last 24 hours (transfers of cash count), this batch has {len(batch.directives)}, and "
            f"{terms.max_orders_per_day} is the limit"
        )
    if terms.duplicate_window_seconds:
        yield (
            "duplicate_window_seconds: compared with what went out within the last "
            f"{terms.duplicate_window_seconds:g} s"
        )


def _not_judged(
    terms: RiskLimits, batch: Batch, past: Sequence[PastIntent], now: datetime, *, undoes: bool
) -> Iterator[str]:
    if terms.max_orders_per_second is not None:
        yield _rate(terms.max_orders_per_second, terms.max_wait_seconds, batch)
    if terms.max_orders_per_day is not None or terms.duplicate_window_seconds:
        yield (
            "what goes out between now and the run, of other batches or because a leg is tried "
            "again, counts too; what has left the window by then does not"
        )
    if not undoes:
        return
    if terms.max_compensations_per_day is not None:
        gone = _in_last_day(past, Purpose.COMPENSATION, now)
        yield (
            "max_compensations_per_day: whether an undo would pass depends on what has to be "
            f"undone, and how often it is tried; {counted(gone, 'undo')} went out within "
            f"the last 24 hours, and {terms.max_compensations_per_day} is the limit"
        )
    if terms.max_compensations_per_second is not None:
        yield (
            "max_compensations_per_second: whether each undo gets its turn, of which "
            f"{terms.max_compensations_per_second} a second do, depends on how many there are"
        )


def _rate(per_second: int, wait: float, batch: Batch) -> str:
    """Return what can be said of the rate: how many could pass if all were sent at once."""
    at_once = min(batch.width, len(batch.directives))
    words = (
        "max_orders_per_second: whether each order gets its turn depends on how fast the broker "
        f"answers and on what else goes out; {at_once} of this batch may ask at once"
    )
    in_time = per_second * (int(wait) + 1)
    if at_once <= in_time:
        return f"{words}, and {in_time} get their turn within {wait:g} s"
    return (
        f"{words}, but only {in_time} get their turn within {wait:g} s: the others may be withheld"
    )


def _in_last_day(past: Sequence[PastIntent], purpose: Purpose, now: datetime) -> int:
    return sum(each.purpose is purpose and now - each.at < _DAY for each in past)
