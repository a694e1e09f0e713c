"""The directive: one immutable instruction that knows how to be undone.

The engine knows no market. A directive tells it, in the engine's own terms, how much is asked
(`amount`), on what (`subject`), in which direction (`direction`), and what undoes a given effect
(`inverse`). A package that brings directives of its own registers each under its `kind`:

    @directive_kind
    class Buy(Directive):
        kind: Literal["buy"] = "buy"
        ...

and never touches this package.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializeAsAny,
    ValidationError,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from saga.errors import UnknownKind
from saga.exact import ONE
from saga.ids import BatchId, DirectiveId
from saga.outcome import Fill, Outcome
from saga.policy import RetryPolicy
from saga.wording import broken_rule, explain, shown


class Directive(BaseModel):
    """An immutable instruction; subclasses add what their participant needs.

    What a subclass defines is a function of its fields alone: it asks nobody and changes nothing,
    and for a long batch it is called on a thread beside the loop's.

    Attributes:
        directive_id: `EXE_` and up to 60 letters, digits, `_` or `-`; unique in its batch.
        kind: the registered name of the directive's type.
        batch_id: the batch it belongs to, when its maker knows it; without it the directive stands
            alone until a batch takes it.
        rollback: this directive undoes another one.
        retry: how often it is tried; None takes the engine's default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    directive_id: DirectiveId
    kind: str
    batch_id: BatchId | None = None
    rollback: bool = Field(default=False, strict=True)
    retry: RetryPolicy | None = None

    @property
    def amount(self) -> Decimal:
        """How much is asked, in the directive's own unit; 1 where the work is indivisible."""
        return ONE

    @property
    def subject(self) -> str | None:
        """What it acts on, such as a symbol; None if nothing can be named."""
        return None

    @property
    def direction(self) -> int:
        """+1 if the effect adds to what is held of the subject, -1 if it takes away, else 0."""
        return 0

    @property
    def can_be_undone(self) -> bool:
        """Tell whether `inverse` has an answer."""
        return False

    @property
    def kind_of_undo(self) -> str | None:
        """The kind of what `inverse` returns; None if it has no answer.

        Every directive is asked for it at the door. One that knows it beforehand says so, and
        spares making an inverse of which nothing else is looked at.
        """
        if not self.can_be_undone:
            return None
        return self.inverse(Outcome((Fill("-", self.amount, ONE),))).kind

    def inverse(self, outcome: Outcome) -> "Directive":
        """Return the directive that undoes exactly what the outcome says took effect.

        Raises:
            NotImplementedError: nothing undoes this kind of directive.
        """
        raise NotImplementedError(f"nothing undoes a directive of kind {self.kind!r}")

    def for_amount(self, amount: Decimal) -> Self:
        """Return the same instruction for another amount: what is left after a part was done."""
        if amount != self.amount:
            raise NotImplementedError(f"a directive of kind {self.kind!r} cannot be divided")
        return self

    def describe(self) -> str:
        """Return the instruction in a few words for people."""
        return f"{self.kind} {self.subject or self.directive_id}"


_D = TypeVar("_D", bound=Directive)
_REGISTERED: dict[str, type[Directive]] = {}


def directive_kind(directive_type: type[_D]) -> type[_D]:
    """Register a directive type under the default of its `kind` field; a class decorator.

    Raises:
        ValueError: the kind is missing or already taken by another type, or the type can change.
    """
    kind = directive_type.model_fields["kind"].default
    if not isinstance(kind, str) or not kind:
        raise ValueError(f"{directive_type.__name__} must give its `kind` field a default name")
    if not directive_type.model_config.get("frozen"):
        raise ValueError(f"{directive_type.__name__} must stay frozen; a directive never changes")
    holder = _REGISTERED.setdefault(kind, directive_type)
    if holder is not directive_type:
        raise ValueError(f"kind {kind!r} is already registered by {holder.__qualname__}")
    return directive_type


def registered_kinds() -> Mapping[str, type[Directive]]:
    """Return every registered directive type by its kind."""
    return dict(_REGISTERED)


def directive_type_of(kind: str) -> type[Directive]:
    """Return the directive type registered under a kind.

    Raises:
        UnknownKind: no type is registered under it.
    """
    try:
        return _REGISTERED[kind]
    except KeyError:
        known = ", ".join(sorted(_REGISTERED)) or "none"
        raise UnknownKind(
            f"kind {shown(kind)} is not registered (registered: {known}); "
            "import the package that brings it before the batch is read"
        ) from None


def _of_registered_kind(value: object) -> Directive:
    if isinstance(value, Directive):
        if _REGISTERED.get(value.kind) is not type(value):
            raise broken_rule(
                f"{type(value).__name__} is not the type registered for kind {shown(value.kind)}; "
                "register it with directive_kind"
            )
        return value
    if not isinstance(value, Mapping):
        raise broken_rule(f"{shown(value)} is not a directive; give an object with its fields")
    kind = value.get("kind")
    if not isinstance(kind, str):
        said = f"is {shown(kind)}" if "kind" in value else "is missing"
        known = ", ".join(sorted(_REGISTERED)) or "none"
        raise broken_rule(f"kind {said}; it must be the name of a registered kind ({known})")
    try:
        return directive_type_of(kind).model_validate(dict(value))
    except UnknownKind as error:
        raise broken_rule(str(error)) from None
    except ValidationError as error:
        raise broken_rule(explain(error)) from None


class _SchemaOfRegisteredKinds:
    """Makes the JSON schema show every kind that is registered when the schema is asked for."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        kinds = [_REGISTERED[kind] for kind in sorted(_REGISTERED)]
        if not kinds:
            return handler(core_schema)
        shapes = [handler.resolve_ref_schema(handler(k.__pydantic_core_schema__)) for k in kinds]
        for shape in shapes:
            # In Python a class gives its own kind; in a document somebody has to.
            shape["required"] = sorted({*shape.get("required", ()), "kind"})
        return {"oneOf": shapes}


AnyDirective = Annotated[
    SerializeAsAny[Directive], BeforeValidator(_of_registered_kind), _SchemaOfRegisteredKinds()
]
"""A field that holds a directive of any registered kind, read and written by its `kind`."""
