"""What a person is told that his wish will do, as far as that can be known beforehand."""

import pytest

from desk.consequences import of_cancel
from saga.events import Paused
from saga.model import ExecutionMode
from tests.core.telling import Telling, batch_of, started


def _half_sent(mode: ExecutionMode = ExecutionMode.ATOMIC) -> Telling:
    """Return a batch that runs, of whose four legs the first has filled and two were not sent."""
    return started(batch_of(5, 5, 5, 5, mode=mode, max_parallel=1)).filled(5)


@pytest.mark.requirement("B9")
@pytest.mark.parametrize(
    ("mode", "fate"), [(ExecutionMode.ATOMIC, "is undone"), (ExecutionMode.PARALLEL, "stays")]
)
def test_a_cancel_promises_nothing_of_legs_that_may_go_out_until_it_takes_effect(
    mode: ExecutionMode, fate: str
) -> None:
    assert (
        "As of now 2 of 4 legs are not sent. More may go out until the cancel takes effect, and "
        f"what they fill {fate} too; the rest is never sent."
    ) in of_cancel(_half_sent(mode).saga)


@pytest.mark.requirement("B9")
def test_a_cancel_of_a_paused_batch_knows_which_legs_are_never_sent() -> None:
    paused = _half_sent().tell(Paused("ann", "asking the broker"))

    assert "2 of 4 legs were not sent, and will not be." in of_cancel(paused.saga)
