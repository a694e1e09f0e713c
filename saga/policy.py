"""What is to happen when something goes wrong, as it is said beforehand.

`RetryPolicy` belongs to a directive, `FailurePolicy` to the submission of a batch, `Capabilities`
to a participant. All three are kept in the journal with the saga, so that what was agreed when it
started is what holds until it ends.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from saga.amounts import NonNegativeAmount

MIN_COMPENSATION_ATTEMPTS = 3
"""Rule 5: a compensation is tried at least so often before its saga is called STALE."""
MAX_ATTEMPTS = 100
"""No policy can ask for more attempts than this; it bounds what one step can send."""

FENCE_CHECK_SECONDS = 1.0
"""A send that comes later than this after its intent was durable first reads who owns the store."""

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False, strict=True)]
"""A length of time, in seconds, of at most one day. Time may be a float; money may not."""

_CallSeconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False, strict=True)]


class RetryPolicy(BaseModel):
    """How often one directive is tried, and how long to wait in between.

    Attributes:
        attempts: tries of the directive itself, the first included. Only a final answer that left
            something undone counts; an unknown outcome is looked up, never retried.
        compensation_attempts: tries of its inverse, at least 3, before the saga is STALE.
        backoff_seconds: the wait before the second try.
        backoff_factor: what each further wait is multiplied with.
        backoff_max_seconds: the longest wait.
        undo_patience_seconds: how long an inverse may stay open at the participant before it is
            withdrawn and tried again for the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS, strict=True)] = 1
    compensation_attempts: Annotated[
        int, Field(ge=MIN_COMPENSATION_ATTEMPTS, le=MAX_ATTEMPTS, strict=True)
    ] = MIN_COMPENSATION_ATTEMPTS
    backoff_seconds: Seconds = 1.0
    backoff_factor: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False, strict=True)] = 2.0
    backoff_max_seconds: Seconds = 60.0
    undo_patience_seconds: Seconds = 60.0

    def wait_after(self, attempt: int) -> timedelta:
        """Return how long to wait after the given attempt (from 1) before the next."""
        seconds = self.backoff_seconds
        for _ in range(attempt - 1):
            if seconds >= self.backoff_max_seconds:
                break
            seconds *= self.backoff_factor
        return timedelta(seconds=min(seconds, self.backoff_max_seconds))


class OnFailure(StrEnum):
    """What a batch does when a step fails, its deadline passes or it is cancelled."""

    UNDO = "undo"
    """Undo what took effect, newest first."""
    KEEP = "keep"
    """Leave what took effect as it is."""
    COMPLETE_FORWARD = "complete_forward"
    """Send refused legs again under their retry policy; undo when the deadline passes."""


class FailurePolicy(BaseModel):
    """What the submitter wants when the batch fails.

    Attributes:
        on_failure: None takes the batch's own default: undo where it rolls back, else keep.
        undo_budget: most that the undo may cost, in the account's currency; once it has cost
            more, nothing further is undone, the saga is STALE, and an operator is asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_failure: OnFailure | None = None
    undo_budget: NonNegativeAmount | None = None


class Capabilities(BaseModel):
    """What a participant can do, and how far its silence can be trusted.

    Attributes:
        look_up: it can be asked about one attempt by its key. Without it an unknown outcome can
            never be found out, and the saga ends as STALE with an interval.
        cancel: what is still open of an attempt can be withdrawn.
        tombstone: withdrawing an unknown key makes that key unusable for ever, which proves
            that the attempt will not be accepted later.
        visibility_seconds: how long after a send a look-up may still say "not found" although the
            attempt was accepted.
        call_timeout_seconds: how long one call may take before its outcome is unknown.
        poll_seconds: how often an open attempt is looked up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    look_up: bool = True
    cancel: bool = True
    tombstone: bool = False
    visibility_seconds: Seconds = 5.0
    call_timeout_seconds: _CallSeconds = 10.0
    poll_seconds: _CallSeconds = 1.0
