"""The paper exchange passes the kit that is given to the authors of other adapters."""

from pathlib import Path

import pytest

from saga.clock import Clock
from saga.testing import Harness, ParticipantContract
from tests.testing_kit.paper_harness import PaperHarness


@pytest.mark.requirement("S1", "S2", "S3", "S6", "L1", "L2")
class TestPaperExchange(ParticipantContract):
    virtual_time = True

    def harness(self, folder: Path, clock: Clock) -> Harness:
        return PaperHarness(folder, clock)
