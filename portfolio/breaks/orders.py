"""Orders at the broker against the journal's intents: each once, as asked, and waited for. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from brokers.venue import OrderStatus
from portfolio.breaks.broker_side import BrokerOrder, BrokerSide
from portfolio.breaks.journal_side import JournalAttempt, JournalSide
from portfolio.breaks.record import Break, Kind, Says
from portfolio.breaks.trades import BrokerTrades
from saga.exact import ZERO, plain, plus, total
from saga.ids import Purpose, batch_of_key


def compare_orders(
    journal: JournalSide,
    broker: BrokerSide,
    trades: BrokerTrades,
    seen_before: frozenset[str] | None,
) -> tuple[list[Break], set[str], set[str]]:
    """Return what differs, the keys of orders that are gone, and of those too young to judge.

    Args:
        journal: what the journal says.
        broker: what the broker says.
        trades: its trades.
        seen_before: the broker's numbers of the orders that it had before the journal was read;
            None if everything was at rest.
    """
    comparison = _Orders(journal, trades, seen_before)
    by_key: dict[str, list[BrokerOrder]] = defaultdict(list)
    for order in broker.orders:
        key = order.client_order_id
        if key is not None and (key in journal.attempts or batch_of_key(key) is not None):
            by_key[key].append(order)
        else:
            comparison.external(order)
    for key, orders in by_key.items():
        comparison.ours(key, orders)
    for attempt in journal.attempts.values():
        if attempt.is_order and attempt.acknowledged and attempt.key not in by_key:
            comparison.missing(attempt)
    comparison.found += _overdone(journal, trades, {k for k, o in by_key.items() if len(o) > 1})
    return comparison.found, comparison.gone, comparison.young


@dataclass(frozen=True, slots=True)
class _Leg:
    batch_id: str
    step: int


class _Orders:
    def __init__(
        self, journal: JournalSide, trades: BrokerTrades, seen_before: frozenset[str] | None
    ) -> None:
        self.found: list[Break] = []
        self.gone: set[str] = set()
        self.young: set[str] = set()
        self._journal = journal
        self._trades = trades
        self._seen_before = seen_before

    def external(self, order: BrokerOrder) -> None:
        """Tell of an order that no saga placed; what it traded is told of by its trades."""
        if not order.status.is_final:
            sentence = f"order {order.number} ({_words(order)}) is open: no saga placed it"
            self._tell(Kind.EXTERNAL, None, order, None, sentence)

    def missing(self, attempt: JournalAttempt) -> None:
        """Tell of an order that the broker had, and does not have any more."""
        self.gone.add(attempt.key)
        self.found.append(
            Break(
                Kind.MISSING_AT_BROKER,
                attempt.batch_id,
                attempt.symbol,
                f"order {attempt.key} is not at the broker, which has said that it had it",
                journal=Says(attempt.amount),
                since=attempt.since,
                client_order_id=attempt.key,
            )
        )

    def ours(self, key: str, orders: list[BrokerOrder]) -> None:
        """Compare the orders that bear one key of ours."""
        attempt = self._journal.attempts.get(key)
        if attempt is None:
            self._never_intended(key, orders)
            return
        accepted = [each for each in orders if each.status is not OrderStatus.REJECTED]
        if len(accepted) > 1:
            sentence = f"the broker took {key} {len(accepted)} times"
            self._tell(Kind.SENT_TWICE, attempt.batch_id, accepted[-1], attempt, sentence)
        for order in orders:
            asked = (attempt.symbol, attempt.side, attempt.amount)
            if (order.symbol, order.side, order.quantity) != asked:
                sentence = (
                    f"order {key} is {_words(order)} at the broker, but {attempt.side} "
                    f"{plain(attempt.amount)} {attempt.symbol} was intended"
                )
                self._tell(Kind.ORDER_DIFFERS, attempt.batch_id, order, attempt, sentence)
        for order in accepted:
            self._waited_for(attempt, order)

    def _never_intended(self, key: str, orders: list[BrokerOrder]) -> None:
        batch_id = batch_of_key(key)
        if self._seen_before is not None and not any(
            each.number in self._seen_before for each in orders
        ):
            self.young.add(key)
            return
        if self._trades.of(key):
            return  # each of its trades tells of it
        known = batch_id in self._journal.sagas
        why = "was never intended" if known else "is of a saga that is not in the store"
        for order in orders:
            sentence = f"order {key} ({_words(order)}) is at the broker, but {why}"
            self._tell(Kind.MISSING_IN_JOURNAL, batch_id, order, None, sentence)

    def _waited_for(self, attempt: JournalAttempt, order: BrokerOrder) -> None:
        """Tell of an order whose saga does not wait for it, though it is open or unheard of."""
        saga = self._journal.sagas[attempt.batch_id]
        is_open = not order.status.is_final
        if attempt.absent:
            self._orphan(attempt, order, "its saga is sure that it never arrived")
        elif is_open and attempt.final:
            self._orphan(attempt, order, "its saga was told that it is over")
        elif not saga.at_rest:
            return  # its saga is under way, and asks about it
        elif saga.stale is not None and attempt.lost:
            sentence = f"order {attempt.key} ({_words(order)}) is at the broker, {order.status}"
            why = "its saga is STALE, and counts it as possible"
            self._tell(Kind.RESIDUAL, attempt.batch_id, order, attempt, sentence, why)
        elif is_open:
            self._orphan(attempt, order, "its saga waits for it no more")
        elif not attempt.told and not attempt.lost:
            self._orphan(attempt, order, "its saga has never heard of it again")

    def _orphan(self, attempt: JournalAttempt, order: BrokerOrder, why: str) -> None:
        sentence = f"order {attempt.key} ({_words(order)}) is at the broker, {order.status}: {why}"
        self._tell(Kind.ORPHAN_ORDER, attempt.batch_id, order, attempt, sentence)

    def _tell(
        self,
        kind: Kind,
        batch_id: str | None,
        order: BrokerOrder,
        attempt: JournalAttempt | None,
        sentence: str,
        explained: str | None = None,
    ) -> None:
        self.found.append(
            Break(
                kind,
                batch_id,
                order.symbol,
                sentence,
                journal=None if attempt is None else Says(attempt.amount),
                broker=Says(order.quantity),
                since=order.placed_at,
                client_order_id=order.client_order_id,
                explained=explained,
            )
        )


def _words(order: BrokerOrder) -> str:
    return f"{order.side} {plain(order.quantity)} {order.symbol}"


def _overdone(journal: JournalSide, trades: BrokerTrades, doubled: set[str]) -> Iterator[Break]:
    """A leg that was sent twice under two keys shows in what it traded."""
    done: dict[_Leg, Decimal] = defaultdict(lambda: ZERO)
    undone: dict[_Leg, Decimal] = defaultdict(lambda: ZERO)
    legs: dict[_Leg, JournalAttempt] = {}
    told_of: set[_Leg] = set()
    for attempt in journal.attempts.values():
        if attempt.is_order:
            leg = _Leg(attempt.batch_id, attempt.step)
            legs[leg] = attempt
            if attempt.key in doubled:
                told_of.add(leg)
            which = done if attempt.purpose is Purpose.FORWARD else undone
            which[leg] = plus(which[leg], total(t.quantity for t in trades.of(attempt.key)))
    for leg, attempt in legs.items():
        for what, amount, bound in (
            ("filled", done[leg], attempt.directive.amount),
            ("undone", undone[leg], done[leg]),
        ):
            if amount > bound and leg not in told_of:
                yield Break(
                    Kind.OVERDONE,
                    leg.batch_id,
                    attempt.symbol,
                    f"leg {leg.step + 1} was {what} for {plain(amount)}, which is more than "
                    f"{plain(bound)}",
                    journal=Says(bound),
                    broker=Says(amount),
                    since=attempt.since,
                    client_order_id=attempt.key,
                )
