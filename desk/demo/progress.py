"""One batch while it runs: the picture of its legs, and what has just happened, in words.

Made from the journal alone, record by record, so that nothing is shown that is not durable. What is
known and what is a guess stand apart: an order in the air counts as neither done nor not done.
"""

from decimal import Decimal
from typing import Final

from rich.text import Text

from desk.batch_report import trade_word
from desk.exposure import InPlace, in_place
from desk.output import MARKS, money
from saga.directive import Directive
from saga.events import (
    Abandoned,
    AnswerLost,
    CompensationStarted,
    Event,
    NotFound,
    ProvenAbsent,
    Reported,
    Resumed,
    StepStuck,
)
from saga.exact import ZERO, minus, plain, total
from saga.fold import AttemptEvent, apply, begin
from saga.ids import Purpose
from saga.ledger import AttemptRecord, Saga, Step
from saga.machine import SagaState
from saga.store.protocol import JournalRecord
from saga.views import TradeStatus, trade_row

BAR_CELLS: Final = 20
_CELL: Final = 9
"""A leg in the picture: its shape, and a symbol of at most five letters."""
_DIRECTIONS: Final = {"buy": ("bought", "buying"), "sell": ("sold", "selling")}
_FINISHED: Final = frozenset(
    {TradeStatus.SUCCESS, TradeStatus.PARTIAL, TradeStatus.ERROR, TradeStatus.UNDONE}
)


class Progress:
    """What the journal of one batch has told so far."""

    def __init__(self) -> None:
        self._saga: Saga | None = None
        self._open_at_resume: set[str] = set()
        self._cost_before = ZERO

    @property
    def saga(self) -> Saga:
        """The saga as far as it was told."""
        assert self._saga is not None, "the first record is the submission"
        return self._saga

    def take(self, record: JournalRecord) -> None:
        """Fold one more record in."""
        if self._saga is None:
            event = record.event
            assert event.kind == "submitted", f"the first record is {event.kind}"
            self._saga = begin(event, record.at)  # type: ignore[arg-type]
            return
        self._cost_before = self._saga.undo_cost
        if isinstance(record.event, Resumed):
            self._open_at_resume = set(self._saga.live)
        apply(self._saga, record.number, record.at, record.event)

    # --- in words ---------------------------------------------------------------------------------

    def words(self, event: Event) -> tuple[str, str, bool] | None:
        """Return what an event means: a status, a sentence, and whether it is worth a line.

        None for what only an engineer wants to know.
        """
        match event:
            case Reported() if event.fills:
                return self._filled(event)
            case Reported(final=True):
                what = self._what(event).describe()
                again = f" (try {event.number})" if event.number > 1 else ""
                status = "stuck" if event.purpose is Purpose.COMPENSATION else "error"
                return status, f"{what} was REFUSED{again}: {event.reason}", True
            case CompensationStarted():
                return "undoing", f"COMPENSATING, newest first, because {event.reason}", True
            case StepStuck():
                step = self.saga.steps[event.step]
                return "stuck", f"{step.directive.subject} STUCK: {event.reason}", True
            case Abandoned():
                return "stale", f"STALE: {event.reason}", True
            case Resumed():
                return "running", "the saga is taken up from its journal", True
            case AnswerLost():
                what = self._what(event).describe()
                return "unknown", f"{what}: fate UNKNOWN, not failed; it is looked up", True
            case NotFound():
                what = self._what(event).describe()
                looks = self._record(event).not_found
                return "unknown", f"{what}: not found, look-up {looks}; no proof as yet", True
            case ProvenAbsent():
                what = self._what(event).describe()
                return "running", f"{what}: proven never to have arrived; it is sent now", True
            case _:
                return None

    def _filled(self, event: Reported) -> tuple[str, str, bool]:
        order = self._what(event)
        done = _DIRECTIONS.get(order.kind, (order.kind, order.kind))[0]
        quantity = count(total(fill.quantity for fill in event.fills))
        price = plain(event.fills[-1].price)
        undoes = event.purpose is Purpose.COMPENSATION
        if not undoes:
            words = f"{done} {quantity} {order.subject} at {price}"
            if self._record(event).key in self._open_at_resume:
                return "success", f"{words}: {self._fate(event)}", True
            return "success", words, False
        cost = minus(self.saga.undo_cost, self._cost_before)
        return (
            "undone",
            f"{done} back {quantity} {order.subject} at {price}, cost {money(cost)}",
            True,
        )

    def _fate(self, event: Reported) -> str:
        if self._record(event).sends > 1:
            return "it had never arrived, so it was sent now"
        return "found at the exchange, so it is NOT sent again"

    def _what(self, event: AttemptEvent) -> Directive:
        return self.saga.attempt(self._record(event)).directive

    def _record(self, event: AttemptEvent) -> AttemptRecord:
        return self.saga.steps[event.step].attempts(event.purpose)[event.number - 1]

    # --- as a picture -----------------------------------------------------------------------------

    def picture(self, width: int, *, ascii_only: bool = False) -> Text:
        """Return the bar, the legs, and the exposure, in lines of at most `width` cells."""
        saga = self.saga
        lines = [self._bar(ascii_only), *self._legs(width, ascii_only), *self._exposure(saga)]
        return Text("\n").join(lines)

    def _bar(self, ascii_only: bool) -> Text:
        saga = self.saga
        if saga.state is SagaState.RUNNING or not any(step.undo for step in saga.steps):
            verb = _verb(saga)
            done = sum(TradeStatus(trade_row(saga, s).status) in _FINISHED for s in saga.steps)
            of = len(saga.steps)
        else:
            verb = "undone"
            touched = [step for step in saga.steps if step.done]
            done, of = sum(not step.left_to_undo for step in touched), len(touched)
        full = BAR_CELLS * done // of if of else BAR_CELLS
        on, off = ("#", "-") if ascii_only else ("█", "░")
        bar = on * full + off * (BAR_CELLS - full)
        return Text.assemble("  ", (bar, "cyan"), f"  {done} of {of} {verb}, {saga.state}")

    def _legs(self, width: int, ascii_only: bool) -> list[Text]:
        a_line = max(1, min(10, (width - 2) // _CELL))
        cells = [self._leg(step, ascii_only) for step in self.saga.steps]
        return [
            Text.assemble("  ", *cells[place : place + a_line])
            for place in range(0, len(cells), a_line)
        ]

    def _leg(self, step: Step, ascii_only: bool) -> Text:
        sign, plain_sign, style = MARKS[trade_word(self.saga, trade_row(self.saga, step))]
        sign = plain_sign if ascii_only else sign
        return Text(f"{sign} {step.directive.subject or step.directive.kind}".ljust(_CELL), style)

    def _exposure(self, saga: Saga) -> list[Text]:
        """Two lines always, so that the picture does not jump."""
        places = in_place(saga)
        known = [each for each in places if each.is_known]
        guess = [each for each in places if not each.is_known]
        net = total(each.value(each.low) or ZERO for each in known)
        first = Text("  so far    ")
        if saga.state in (SagaState.COMPLETED, SagaState.ROLLED_BACK) and not known:
            first.append("nothing of this batch is in place: known")
        else:
            first.append(f"{len(known)} symbols changed by {signed(net)} USD: known")
        second = Text("  in the air  ")
        second.append("; ".join(interval(each) for each in guess) or "nothing")
        return [first, second]


def _verb(saga: Saga) -> str:
    kinds = {step.directive.kind for step in saga.steps}
    return (
        _DIRECTIONS[kinds.pop()][0] if len(kinds) == 1 and kinds <= set(_DIRECTIONS) else "traded"
    )


def count(amount: Decimal) -> str:
    """Return a number of shares, exactly, with its thousands set apart."""
    return format(Decimal(plain(amount)), ",f")


def signed(amount: Decimal) -> str:
    """Return money with its sign, exactly."""
    return ("+" if amount > 0 else "") + money(amount)


def interval(each: InPlace) -> str:
    """Return what may be in place of one symbol, and that it is a guess."""
    return f"{each.symbol} {count(each.low)} to {count(each.high)} shares: not known yet"
