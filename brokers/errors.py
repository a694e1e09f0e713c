"""What a venue's answer proves, as exceptions.

    SagaError
    ├── OrderRefused        the venue's reply proves that it did not accept the order
    └── OutcomeUnknown      everything else that is no usable answer; it proves nothing

The difference is the whole point (rule 3): a refusal may be acted on at once, an unknown outcome is
looked up by key first. An adapter raises `OrderRefused` only for replies whose meaning at *its*
venue is certain; when in doubt, it raises `OutcomeUnknown`.
"""

from saga.errors import SagaError


class OrderRefused(SagaError):
    """The venue did not accept the order, and its reply proves that; the message is its reason."""


class OutcomeUnknown(SagaError):
    """No usable answer: a timeout, a broken connection, garbage. It may or may not have worked."""
