"""Every error that the engine raises on purpose, as one small family.

    SagaError
    ├── InvalidInput            what was handed in breaks a rule; nothing was stored or sent
    │   ├── BatchConflict       the id is taken by a batch with other content
    │   ├── UnknownKind         no directive is registered under that kind
    │   └── NotServed           no participant carries out that kind of directive
    ├── NoSuchBatch             no saga has that id
    ├── NotAllowed              the saga's state does not allow what was asked
    │   ├── IllegalTransition   the state machine has no such arrow
    │   └── AccountUnknown      a participant cannot say now in which account it acts
    ├── AdmissionRefused        a named bound of the engine is reached
    ├── Quarantined             this saga's journal cannot be trusted or read; the others run
    └── StoreError
        ├── StoreUnusable       not a database, read-only, wrong schema, wrong settings
        ├── StoreBusy           another program holds the write lock; nothing was written
        ├── StoreHeld           another owner holds the store
        ├── OwnershipLost       another owner took the store over; nothing more can be written
        └── StorePoisoned       a write failed; what is durable is known only after a restart

Each message is a whole sentence that a user reads: the field, the value, the rule, and what to do.
"""


class SagaError(Exception):
    """Base of all errors that the engine raises on purpose."""


class InvalidInput(SagaError):
    """What was handed in breaks a rule; nothing was stored and nothing was sent."""


class BatchConflict(InvalidInput):
    """The batch id is already taken by a batch with other content."""


class UnknownKind(InvalidInput):
    """No directive is registered under this kind."""


class NotServed(InvalidInput):
    """No participant of this orchestrator carries out this kind of directive."""


class NoSuchBatch(SagaError):
    """No saga has this batch id."""


class NotAllowed(SagaError):
    """The saga's present state does not allow what was asked; nothing was changed."""


class IllegalTransition(NotAllowed):
    """The state machine has no such arrow; nothing was changed."""


class AccountUnknown(NotAllowed):
    """A participant cannot say now in which account it acts; nothing was changed or sent."""


class AdmissionRefused(SagaError):
    """A named bound of the engine is reached; nothing was stored and nothing was sent."""


class Quarantined(SagaError):
    """This saga's journal cannot be read or trusted; it is set aside, and the others run.

    Attributes:
        sequence: the global sequence number of the record that cannot be read, where one is known.
    """

    def __init__(self, message: str, sequence: int | None = None) -> None:
        super().__init__(message)
        self.sequence = sequence


class StoreError(SagaError):
    """The checkpoint store cannot do what was asked."""


class StoreUnusable(StoreError):
    """The store cannot be opened safely."""


class StoreBusy(StoreError):
    """Another program has held the store's write lock too long; nothing was written."""


class StoreHeld(StoreError):
    """Another living owner holds the store."""


class OwnershipLost(StoreError):
    """Another owner took the store over; this one can write and send nothing more."""


class StorePoisoned(StoreError):
    """A write failed in a way that leaves open what is durable; only a restart can tell."""
