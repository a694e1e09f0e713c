"""The batch: an immutable list of directives and how they are to be carried out together.

A batch says what is wanted; it coordinates nothing itself. Executing, placing orders, persisting
and recovering are other modules' work. To change a batch, make a new one.
"""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from saga.clock import utc_now
from saga.directive import AnyDirective, Directive, explain
from saga.errors import InvalidInput
from saga.ids import BatchId, DirectiveId, generate_batch_id

MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_DEPTH = 32
MAX_EXCLUSION_KEY_LENGTH = 128


class ExecutionMode(StrEnum):
    """How the directives of a batch are carried out."""

    SEQUENTIAL = "SEQUENTIAL"
    """One by one in list order; stops on the first failure."""
    PARALLEL = "PARALLEL"
    """All at once; a failure does not stop the others."""
    ATOMIC = "ATOMIC"
    """All succeed or all are rolled back."""


class Priority(StrEnum):
    """Which batches are admitted first when the engine is at its bound."""

    HIGH = "HIGH"
    NORMAL = "NORMAL"
    LOW = "LOW"


def _wrong(text: str) -> PydanticCustomError:
    # The text goes in as a value: braces in it would be read as placeholders.
    return PydanticCustomError("batch", "{text}", {"text": text})


def _in_utc(value: object) -> object:
    if isinstance(value, datetime) and value.utcoffset() is None:
        raise _wrong(f"created_at must be timezone-aware UTC, not the naive {value.isoformat()}")
    if isinstance(value, datetime) and value.utcoffset() != timedelta(0):
        raise _wrong(f"created_at must be in UTC, not {value.isoformat()}; convert it first")
    if isinstance(value, str):
        try:
            return _in_utc(datetime.fromisoformat(value))
        except ValueError:
            raise _wrong(
                f"created_at must be an ISO 8601 instant in UTC, not {value[:40]!r}"
            ) from None
    if not isinstance(value, datetime):
        raise _wrong(f"created_at must be an ISO 8601 instant in UTC, not {value!r}")
    return value


def _in_seconds(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(f"timeout must be positive, a number of seconds, not {value!r}")
    if not 0 < value < float("inf"):
        raise _wrong(f"timeout must be positive and finite, not {value!r} seconds")
    if value > MAX_TIMEOUT_SECONDS:
        raise _wrong(f"timeout must be at most {MAX_TIMEOUT_SECONDS} seconds, not {value!r}")
    return value


MAX_TIMEOUT_SECONDS = 366 * 86_400


def _frozen_json(value: object, depth: int = 0) -> object:
    """Return the JSON value with objects and arrays that cannot be changed."""
    if depth > MAX_METADATA_DEPTH:
        raise _wrong(f"metadata must not be nested deeper than {MAX_METADATA_DEPTH} levels")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _wrong(f"metadata must be JSON: keys are strings, not {key!r}")
        return MappingProxyType({k: _frozen_json(v, depth + 1) for k, v in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(_frozen_json(item, depth + 1) for item in value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    raise _wrong(f"metadata must be JSON, which {value!r} is not; convert it to a string or number")


def _thawed_json(value: object) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed_json(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_thawed_json(item) for item in value]
    return value


def _as_metadata(value: object) -> object:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _wrong(f"metadata must be a JSON object, not {type(value).__name__}")
    frozen = _frozen_json(value)
    try:
        size = len(json.dumps(_thawed_json(frozen), ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise _wrong("metadata must be JSON: it holds text that is not valid Unicode") from None
    if size > MAX_METADATA_BYTES:
        raise _wrong(f"metadata must be at most {MAX_METADATA_BYTES} bytes as JSON, not {size}")
    return frozen


Metadata = Annotated[
    Mapping[str, Any],
    BeforeValidator(_as_metadata),
    PlainSerializer(_thawed_json),
    WithJsonSchema({"type": "object"}),
]


class Batch(BaseModel):
    """The execution directive batch.

    Attributes:
        batch_id: `BAT_YYYYMMDD_HHMMSS_xxxxx`; a new one by default.
        directives: what is to be done; at least one, ids unique.
        execution_mode: SEQUENTIAL, PARALLEL or ATOMIC.
        created_at: when it was made, UTC; now by default.
        rollback_on_failure: undo what took effect when the batch fails. True for ATOMIC, and nothing
            else is allowed there; False by default for the others.
        timeout_seconds: the whole batch must be over so long after it was accepted.
        metadata: JSON that travels with the batch, at most 64 kB.
        priority: which batches are admitted first.
        max_parallel: most directives in the air at once. None is 1 for ATOMIC and no bound for
            PARALLEL; SEQUENTIAL is always 1.
        exclusion_key: at most one batch with this key runs at a time, for example a portfolio's name.
        rollback_only: ids of the directives that are undone on failure; None undoes all.
        parent_id: the batch whose failed directives this one tries again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", title="ExecutionDirectiveBatch")

    batch_id: BatchId = Field(default_factory=generate_batch_id)
    directives: tuple[AnyDirective, ...]
    execution_mode: ExecutionMode
    created_at: Annotated[datetime, BeforeValidator(_in_utc)] = Field(default_factory=utc_now)
    rollback_on_failure: bool = Field(default=False, strict=True)
    timeout_seconds: Annotated[float, BeforeValidator(_in_seconds)] | None = None
    metadata: Metadata | None = None
    priority: Priority = Priority.NORMAL
    max_parallel: Annotated[int, Field(ge=1, strict=True)] | None = None
    exclusion_key: (
        Annotated[str, Field(min_length=1, max_length=MAX_EXCLUSION_KEY_LENGTH)] | None
    ) = None
    rollback_only: tuple[DirectiveId, ...] | None = None
    parent_id: BatchId | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_rollback(cls, data: Any) -> Any:
        """An ATOMIC batch rolls back unless told otherwise (and is refused if told otherwise)."""
        if isinstance(data, Mapping) and data.get("rollback_on_failure") is None:
            atomic = data.get("execution_mode") == ExecutionMode.ATOMIC
            return {**data, "rollback_on_failure": atomic}
        return data

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        if not self.directives:
            raise _wrong("directives list cannot be empty; give at least one directive")
        counts = Counter(directive.directive_id for directive in self.directives)
        doubled = [directive_id for directive_id, count in counts.items() if count > 1]
        if doubled:
            raise _wrong(f"all directive ids must be unique; {doubled[0]!r} stands there twice")
        if self.execution_mode is ExecutionMode.ATOMIC and not self.rollback_on_failure:
            raise _wrong(
                "rollback must be True for ATOMIC, not False; leave rollback_on_failure out, "
                "or use SEQUENTIAL or PARALLEL"
            )
        for directive in self.directives:
            if directive.batch_id not in (None, self.batch_id):
                raise _wrong(
                    f"directive {directive.directive_id} says batch_id {directive.batch_id!r}, "
                    f"but stands in batch {self.batch_id!r}"
                )
        if self.execution_mode is ExecutionMode.SEQUENTIAL and self.max_parallel not in (None, 1):
            raise _wrong(f"max_parallel must be 1 for SEQUENTIAL, not {self.max_parallel}")
        self._check_rollback_scope(counts)
        return self

    def _check_rollback_scope(self, known: Mapping[str, int]) -> None:
        if self.rollback_only is None:
            return
        if self.execution_mode is ExecutionMode.ATOMIC:
            raise _wrong("rollback_only must be left out for ATOMIC, which rolls back everything")
        if not self.rollback_on_failure:
            raise _wrong("rollback_only must be left out when rollback_on_failure is False")
        for directive_id in self.rollback_only:
            if directive_id not in known:
                raise _wrong(f"rollback_only names {directive_id!r}, which is not in directives")

    def is_rolled_back(self, directive: Directive) -> bool:
        """Tell whether the directive's effect is undone when the batch rolls back."""
        return self.rollback_only is None or directive.directive_id in self.rollback_only

    @property
    def width(self) -> int:
        """Most directives in the air at once."""
        if self.execution_mode is ExecutionMode.SEQUENTIAL:
            return 1
        if self.max_parallel is not None:
            return self.max_parallel
        return 1 if self.execution_mode is ExecutionMode.ATOMIC else len(self.directives)


def parse_batch(data: str | bytes | Mapping[str, Any]) -> Batch:
    """Return the batch that a JSON text or a mapping describes.

    Raises:
        InvalidInput: it breaks a rule; the sentence names field, value and rule.
    """
    try:
        if isinstance(data, (str, bytes)):
            return Batch.model_validate_json(data)
        return Batch.model_validate(data)
    except ValidationError as error:
        raise InvalidInput(explain(error)) from None
