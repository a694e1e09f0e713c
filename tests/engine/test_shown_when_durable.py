"""Nobody is shown a state that a crash could still take back (S14)."""

from pathlib import Path

import pytest

from saga.orchestrator import Orchestrator
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from saga.views import BatchRow
from tests.engine.lying_venue import LyingVenue, batch, buy, sell


class LooksFirst(SqliteStore):
    """Looks, before each record is written, at what the engine shows of its batch."""

    engine: Orchestrator
    looks = 0

    async def append(self, append: Append) -> int:
        shown: list[BatchRow] = [
            row for row in self.engine.active() if row.batch_id == append.batch.batch_id
        ]
        self.looks += len(shown)
        assert append.batch_row not in shown, "it is shown, and not yet durable"
        return await super().append(append)


@pytest.mark.requirement("S14")
async def test_no_state_is_shown_before_its_record_is_durable(tmp_path: Path) -> None:
    store = LooksFirst(tmp_path / "saga.db")
    engine = store.engine = Orchestrator(store, [LyingVenue()])
    async with engine:
        row = await engine.run(batch(buy("AAPL"), sell("MSFT")), timeout=20)
        assert await store.quarantined() == {}
    assert row.state == "COMPLETED"
    assert store.looks >= 2
