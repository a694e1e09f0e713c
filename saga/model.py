"""The batch: an immutable list of directives and how they are to be carried out together.

A batch says what is wanted; it coordinates nothing itself. Executing, placing orders, persisting
and recovering are other modules' work. To change a batch, make a new one.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from saga.clock import utc_now
from saga.directive import AnyDirective
from saga.errors import InvalidInput
from saga.frozen_json import freeze, thaw
from saga.ids import BatchId, DirectiveId, generate_batch_id
from saga.schema_examples import EXAMPLES
from saga.strict_json import read_object
from saga.wording import broken_rule, explain, shown

MAX_BATCH_BYTES = 32 * 1024 * 1024
"""Most bytes of a batch as JSON text: room for 100,000 directives of 335 bytes each."""
MAX_BATCH_DEPTH = 40
"""Most levels of nesting in a batch as JSON text; the metadata has its own, lower bound."""
MAX_BATCH_NESTED = 1_000_000
"""Most objects and arrays in a batch as JSON text."""
MAX_TIMEOUT_SECONDS = 366 * 86_400
"""The longest time that a batch may be given: about a year."""
MAX_WIDTH = 100_000
"""Most directives that a batch may ask to have in the air at once."""
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
    """Which batches are taken in, admitted and written first where many wait."""

    HIGH = "HIGH"
    NORMAL = "NORMAL"
    LOW = "LOW"


def _in_utc(value: object) -> datetime:
    instant = value
    if isinstance(value, str):
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            instant = None
    if not isinstance(instant, datetime):
        raise broken_rule(
            f"created_at must be an ISO 8601 instant in UTC, not {shown(value)}; "
            "write it like 2026-11-21T09:30:00Z"
        )
    if instant.utcoffset() is None:
        raise broken_rule(
            f"created_at must be timezone-aware UTC, not the naive {instant.isoformat()}; "
            "give it the timezone UTC"
        )
    if instant.utcoffset() != timedelta(0):
        raise broken_rule(f"created_at must be in UTC, not {instant.isoformat()}; convert it first")
    # Other timezones have this offset too, for a part of the year.
    return instant.astimezone(UTC)


def _in_seconds(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise broken_rule(
            f"timeout must be positive, a number of seconds, not {shown(value)}; "
            "write it like 30 or 0.5"
        )
    if not 0 < value < float("inf"):
        raise broken_rule(
            f"timeout must be positive and finite, not {shown(value)} seconds; "
            "leave it out for no bound"
        )
    if value > MAX_TIMEOUT_SECONDS:
        raise broken_rule(
            f"timeout must be at most {MAX_TIMEOUT_SECONDS} seconds, not {shown(value)}; "
            "leave it out for no bound"
        )
    return value


def _in_order(value: object) -> object:
    # A set has no order and a generator no end.
    if isinstance(value, (list, tuple)):
        return value
    raise broken_rule(f"directives must be a list, not {shown(value)}; give them in their order")


Metadata = Annotated[
    Mapping[str, Any],
    PlainValidator(freeze),
    PlainSerializer(thaw),
    WithJsonSchema({"type": "object"}),
]
"""A JSON object that cannot be changed (`saga.frozen_json`)."""


class Batch(BaseModel):
    """The execution directive batch.

    Attributes:
        batch_id: `BAT_YYYYMMDD_HHMMSS_xxxxx`; a new one by default.
        directives: what is to be done; at least one, ids unique.
        execution_mode: SEQUENTIAL, PARALLEL or ATOMIC.
        created_at: when it was made, UTC; now by default.
        rollback_on_failure: undo what took effect when the batch fails. True for ATOMIC, where
            nothing else is allowed; False by default for the others.
        timeout_seconds: the whole batch must be over so long after it was accepted.
        metadata: JSON that travels with the batch, at most 64 kB.
        priority: which batches are admitted first.
        max_parallel: most directives in the air at once. None is 1 for ATOMIC and no bound for
            PARALLEL; SEQUENTIAL is always 1.
        exclusion_key: at most one batch with this key runs at a time; a portfolio's name.
        rollback_only: ids of the directives that are undone on failure; None undoes all.
        parent_id: the batch whose failed directives this one tries again.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        title="ExecutionDirectiveBatch",
        json_schema_extra={"examples": list(EXAMPLES)},
    )

    batch_id: BatchId = Field(default_factory=generate_batch_id)
    directives: Annotated[
        tuple[AnyDirective, ...],
        FailFast(),
        BeforeValidator(_in_order),
        Field(json_schema_extra={"minItems": 1}),
    ]
    execution_mode: ExecutionMode
    created_at: Annotated[datetime, BeforeValidator(_in_utc)] = Field(default_factory=utc_now)
    rollback_on_failure: bool = Field(default=False, strict=True)
    timeout_seconds: Annotated[float, BeforeValidator(_in_seconds)] | None = None
    metadata: Metadata | None = None
    priority: Priority = Priority.NORMAL
    max_parallel: Annotated[int, Field(ge=1, le=MAX_WIDTH, strict=True)] | None = None
    exclusion_key: (
        Annotated[str, Field(min_length=1, max_length=MAX_EXCLUSION_KEY_LENGTH)] | None
    ) = None
    rollback_only: Annotated[tuple[DirectiveId, ...] | None, FailFast()] = None
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
            raise broken_rule("directives list cannot be empty; give at least one directive")
        counts = Counter(directive.directive_id for directive in self.directives)
        doubled = [directive_id for directive_id, count in counts.items() if count > 1]
        if doubled:
            raise broken_rule(
                f"all directive ids must be unique; {doubled[0]!r} stands there "
                f"{counts[doubled[0]]} times; give each directive an id of its own"
            )
        if self.execution_mode is ExecutionMode.ATOMIC and not self.rollback_on_failure:
            raise broken_rule(
                "rollback must be True for ATOMIC, not False; leave rollback_on_failure out, "
                "or use SEQUENTIAL or PARALLEL"
            )
        for directive in self.directives:
            if directive.batch_id not in (None, self.batch_id):
                raise broken_rule(
                    f"directive {directive.directive_id} says batch_id {directive.batch_id!r}, "
                    f"but stands in batch {self.batch_id!r}; name that one or leave it out"
                )
        if self.execution_mode is ExecutionMode.SEQUENTIAL and self.max_parallel not in (None, 1):
            raise broken_rule(
                f"max_parallel must be 1 for SEQUENTIAL, not {self.max_parallel}; leave it out"
            )
        self._check_rollback_scope(counts)
        return self

    def _check_rollback_scope(self, known: Mapping[str, int]) -> None:
        if self.rollback_only is None:
            return
        if self.execution_mode is ExecutionMode.ATOMIC:
            raise broken_rule(
                "rollback_only must be left out for ATOMIC, which rolls back everything; "
                "use SEQUENTIAL or PARALLEL"
            )
        if not self.rollback_on_failure:
            raise broken_rule(
                "rollback_only must be left out when rollback_on_failure is False; set that to True"
            )
        for directive_id in self.rollback_only:
            if directive_id not in known:
                raise broken_rule(
                    f"rollback_only names {directive_id!r}, which is not in directives; "
                    "name only directives of this batch"
                )

    def rolled_back_ids(self) -> frozenset[str]:
        """Return the ids of the directives whose effect is undone when the batch rolls back."""
        if self.rollback_only is not None:
            return frozenset(self.rollback_only)
        return frozenset(directive.directive_id for directive in self.directives)

    @property
    def width(self) -> int:
        """Most directives in the air at once."""
        if self.execution_mode is ExecutionMode.SEQUENTIAL:
            return 1
        if self.max_parallel is not None:
            return self.max_parallel
        return 1 if self.execution_mode is ExecutionMode.ATOMIC else len(self.directives)


def kept_small(batch: Batch) -> Batch:
    """Return the batch, made smaller for those who keep many of them for long.

    A model notes which of its fields were given, in a set that is as large as all its values. Where
    that is every field, as in what was checked or read back, it is one set for all of its type.
    """
    for model in (batch, *batch.directives):
        given, fields = model.model_fields_set, type(model).model_fields
        if len(given) == len(fields):
            all_given = _ALL_GIVEN.setdefault(type(model), given)
            object.__setattr__(model, "__pydantic_fields_set__", all_given)
    return batch


_ALL_GIVEN: Final[dict[type[BaseModel], set[str]]] = {}
"""The names of all fields of a type; nobody changes a set of these, for the models are frozen."""


def parse_batch(data: str | bytes | Mapping[str, Any]) -> Batch:
    """Return the batch that a JSON text or a mapping describes.

    A text is read strictly: a field that stands twice, or a text beyond the named bounds, is
    refused. `Batch.model_validate_json` is not so strict; it is for what we wrote ourselves.

    Raises:
        InvalidInput: it breaks a rule; the sentence names field, value, rule and what to do.
    """
    if isinstance(data, (str, bytes)):
        data = read_object(
            data,
            max_bytes=MAX_BATCH_BYTES,
            max_depth=MAX_BATCH_DEPTH,
            max_nested=MAX_BATCH_NESTED,
        )
    if not isinstance(data, Mapping):
        raise InvalidInput(f"a batch must be an object with fields, not {shown(data)}; give one")
    try:
        return Batch.model_validate(dict(data))
    except ValidationError as error:
        raise InvalidInput(explain(error)) from None
