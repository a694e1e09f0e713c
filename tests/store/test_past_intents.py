"""What was handed over of late is read back, although a wall clock was slow for a while."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from saga.events import Started
from saga.ids import Purpose, attempt_key
from saga.store import past_intents
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from tests.store.sample_appends import NOON, batch_id, first, following, intended


def _sent(number: int, *, slow: timedelta) -> tuple[Append, Append]:
    """Return a saga that has handed one order over, by a clock that was slow."""
    accepted, sent = first(number), following(number, 2, Started(), intended(0))
    changes = tuple(replace(each, at=each.at - slow) for each in sent.changes)
    return accepted, replace(sent, changes=changes)


@pytest.mark.requirement("S13")
@pytest.mark.parametrize(("older", "remembered"), [(1, True), (0, False)])
async def test_an_order_behind_those_of_a_slow_clock_is_remembered_up_to_a_bound(
    older: int, remembered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_intents, "MAX_OLDER", older)
    async with SqliteStore(tmp_path / "saga.db") as store:
        await store.acquire()
        for append in (*_sent(1, slow=timedelta()), *_sent(2, slow=timedelta(days=2))):
            await store.append(append)
        found = [past.key async for past in store.intents(since=NOON - timedelta(hours=1))]
        await store.release()
    sent = attempt_key(batch_id(1), 0, Purpose.FORWARD, 1)
    assert found == ([sent] if remembered else [])
