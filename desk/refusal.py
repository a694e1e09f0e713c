"""Whether a portfolio would take a batch in, found out beforehand from its books; changes nothing.

The rules are the portfolio's own (`portfolio.projection`), applied to the books as they are now.
"""

from collections.abc import Callable
from decimal import Decimal

from desk.settings import Configured
from portfolio.books import Books, read_books, read_names
from portfolio.errors import NoSuchPortfolio
from portfolio.naming import portfolio_of
from portfolio.projection import check_need, stale_error
from portfolio.reservation import Need
from saga.errors import InvalidInput, SagaError
from saga.exact import ZERO
from saga.model import Batch
from saga.store.sqlite_reader import SqliteReader


async def refusal_of(
    configured: Configured, batch: Batch, need: Callable[[], Need], cash: Decimal, currency: str
) -> SagaError | None:
    """Return the error with which a run would be refused; None if it would not be.

    Args:
        configured: the folder and its settings.
        batch: a batch that has passed the engine's door.
        need: what it would reserve.
        cash: what the account has, with which a first portfolio would be opened.
        currency: of the account.
    """
    name = portfolio_of(batch)
    if name is None:
        return None
    try:
        books = await _books(configured, name, cash, currency)
        if books.stale:
            return stale_error(name, books.stale)
        check_need(books, batch.batch_id, need())
    except SagaError as error:
        return error
    return None


async def _books(configured: Configured, name: str, cash: Decimal, currency: str) -> Books:
    """Return the books; those that a first run would open, where there are none."""
    names: tuple[str, ...] = ()
    if configured.home.store.exists():
        async with SqliteReader(configured.home.store) as reader:
            books = await reader.read(read_books, name)
            names = await reader.read(read_names)
        if books is not None:
            return books
    default = configured.settings.portfolio
    if names and default not in names:
        raise InvalidInput(
            f"portfolio {default!r} has no books, and the account's cash belongs to "
            f"{', '.join(names)} already; name that one in the settings"
        )
    if names or name != default:
        raise NoSuchPortfolio(
            f"portfolio {name!r} has no books; those that have: {', '.join(names) or default}"
        )
    return Books(name, currency, cash, ZERO, {}, (), ())
