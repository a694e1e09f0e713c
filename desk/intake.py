"""From a file to a batch that the desk can run: read it, give it its portfolio and its prices.

A batch that trades belongs to a portfolio, whose books then reserve what it may need; for that each
order bears the price that was seen when it was planned (`reference_price`), which is never sent to
the venue. Nothing else of a batch is changed, and nothing is stored here.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from brokers.orders import Order
from desk.csv_import import SkippedRow, read_orders
from portfolio.naming import KEY_PREFIX, exclusion_key
from saga.errors import InvalidInput
from saga.model import MAX_BATCH_BYTES, Batch, ExecutionMode, Priority, parse_batch
from saga.policy import OnFailure
from saga.wording import explain

STDIN: Final = Path("-")


@dataclass(frozen=True, slots=True)
class CsvTerms:
    """What a CSV file does not say of its batch; None is what a batch has by default.

    `on_failure` may be given for a JSON file as well; of a CSV it also makes one that rolls back.
    """

    mode: ExecutionMode | None = None
    timeout_seconds: float | None = None
    priority: Priority | None = None
    max_parallel: int | None = None
    lot: Decimal | None = None
    on_failure: OnFailure | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The options that were given."""
        values = {
            "--mode": self.mode,
            "--timeout": self.timeout_seconds,
            "--priority": self.priority,
            "--max-parallel": self.max_parallel,
            "--lot": self.lot,
        }
        return tuple(name for name, value in values.items() if value is not None)


@dataclass(frozen=True, slots=True)
class Read:
    """A batch as its file says it, and the rows that were left out."""

    batch: Batch
    skipped: tuple[SkippedRow, ...] = ()
    layout: str = "JSON"


def read_file(file: Path, terms: CsvTerms) -> Read:
    """Return the batch that a file, or stdin, describes.

    Raises:
        InvalidInput: it cannot be read, or breaks a rule.
    """
    source = "stdin" if file == STDIN else file.name
    data = _bytes_of(file)
    if _is_json(file, data):
        if terms.given:
            raise InvalidInput(
                f"{terms.given[0]} is for CSV files; {source} is JSON, which says that itself"
            )
        try:
            return Read(parse_batch(data))
        except InvalidInput as error:
            raise type(error)(f"{source}: {error}") from None
    return _from_csv(data, source, terms)


def _bytes_of(file: Path) -> bytes:
    try:
        if file == STDIN:
            data = sys.stdin.buffer.read(MAX_BATCH_BYTES + 1)
        else:
            with file.open("rb") as stream:
                data = stream.read(MAX_BATCH_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"file {str(file)!r} cannot be read: {error.strerror}") from None
    if len(data) > MAX_BATCH_BYTES:
        raise InvalidInput(
            f"file {str(file)!r} has more than the {MAX_BATCH_BYTES} bytes allowed; split it"
        )
    return data


def _is_json(file: Path, data: bytes) -> bool:
    suffix = file.suffix.lower()
    if suffix in (".json", ".csv", ".tsv"):
        return suffix == ".json"
    return data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _from_csv(data: bytes, source: str, terms: CsvTerms) -> Read:
    imported = read_orders(data, source, lot=terms.lot)
    fields: dict[str, object] = {
        "directives": imported.orders,
        "execution_mode": terms.mode or ExecutionMode.ATOMIC,
        "timeout_seconds": terms.timeout_seconds,
        "priority": terms.priority or Priority.NORMAL,
        "max_parallel": terms.max_parallel,
        "metadata": {"source": source},
    }
    if terms.on_failure in (OnFailure.UNDO, OnFailure.COMPLETE_FORWARD):
        fields["rollback_on_failure"] = True
    try:
        batch = Batch.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(f"{source}: {explain(error)}") from None
    return Read(batch, imported.skipped, imported.layout)


def orders_of(batch: Batch) -> tuple[Order, ...]:
    """Return the batch's orders, in its order."""
    return tuple(each for each in batch.directives if isinstance(each, Order))


def for_portfolio(batch: Batch, asked: str | None, default: str) -> Batch:
    """Return the batch with the exclusion key of its portfolio; one that trades nothing has none.

    Args:
        batch: the batch.
        asked: `--portfolio`.
        default: the portfolio of the settings.

    Raises:
        InvalidInput: it has another key already, or one that is no portfolio's.
    """
    if not orders_of(batch):
        # What only cancels orders must not wait for the very batch that holds the portfolio.
        return batch
    key = batch.exclusion_key
    if key is None:
        key = exclusion_key(asked or default)
        return batch.model_copy(update={"exclusion_key": key})
    if not key.startswith(KEY_PREFIX):
        raise InvalidInput(
            f"exclusion_key {key!r} of batch {batch.batch_id} names no portfolio, so that its "
            f"trades would be in no books; leave it out, or write {exclusion_key(default)!r}"
        )
    if asked is not None and key != exclusion_key(asked):
        raise InvalidInput(
            f"--portfolio {asked} contradicts exclusion_key {key!r} of batch {batch.batch_id}; "
            "leave one of them out"
        )
    return batch


def unpriced_symbols(batch: Batch) -> tuple[str, ...]:
    """Return the symbols of orders that bear no reference price."""
    symbols = (each.symbol for each in orders_of(batch) if each.reference_price is None)
    return tuple(dict.fromkeys(symbols))


def priced(batch: Batch, prices: Mapping[str, Decimal], known: Iterable[object] = ()) -> Batch:
    """Return the batch with a reference price in each order for which there is one.

    Args:
        batch: the batch.
        prices: the prices that are seen now.
        known: the directives as they were accepted already, if this id is in the store; they keep
            the prices of that time, so that handing a batch in twice gives one saga.
    """
    seen = {each.directive_id: each.reference_price for each in known if isinstance(each, Order)}
    directives = tuple(
        each.model_copy(
            update={"reference_price": seen.get(each.directive_id) or prices.get(each.symbol)}
        )
        if isinstance(each, Order) and each.reference_price is None
        else each
        for each in batch.directives
    )
    return batch.model_copy(update={"directives": directives})
