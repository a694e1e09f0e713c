"""Do the books contradict themselves? Pure arithmetic over what `read_books` returns."""

from collections import defaultdict
from decimal import Decimal

from brokers.paper.books import Books
from brokers.paper.matching import cash_change, position_change
from brokers.paper.rows import standing
from saga.exact import ZERO, plus, total


def conservation_errors(books: Books) -> tuple[str, ...]:
    """Return every way in which the books contradict themselves; none if all is conserved exactly.

    Cash is the sum of deposits and executions, positions are the sum of executions, and each order
    is filled by what its standing executions say.
    """
    errors = [*_cash_errors(books), *_position_errors(books)]
    filled = defaultdict[str, Decimal](lambda: ZERO)
    for trade in standing(books.executions):
        if trade.client_order_id is not None:
            filled[trade.client_order_id] = plus(filled[trade.client_order_id], trade.quantity)
    told = defaultdict[str, Decimal](lambda: ZERO)
    for order in books.orders:
        if order.client_order_id is not None:
            told[order.client_order_id] = plus(told[order.client_order_id], order.filled)
    errors += [
        f"order {key} is filled by {told[key]}, its executions say {filled[key]}"
        for key in {*told, *filled}
        if told[key] != filled[key]
    ]
    return tuple(errors)


def _cash_errors(books: Books) -> list[str]:
    deposits = total(entry.amount for entry in books.cash_entries if entry.fill_id is None)
    traded = total(
        cash_change(trade.side, trade.quantity, trade.price, trade.fee)
        for trade in books.executions
    )
    expected = plus(deposits, traded)
    if books.cash == expected:
        return []
    return [f"cash is {books.cash}, deposits and executions add up to {expected}"]


def _position_errors(books: Books) -> list[str]:
    expected = defaultdict[str, Decimal](lambda: ZERO)
    for trade in books.executions:
        change = position_change(trade.side, trade.quantity)
        expected[trade.symbol] = plus(expected[trade.symbol], change)
    return [
        f"position of {symbol} is {books.positions.get(symbol, ZERO)}, "
        f"executions add up to {expected[symbol]}"
        for symbol in {*expected, *books.positions}
        if books.positions.get(symbol, ZERO) != expected[symbol]
    ]
