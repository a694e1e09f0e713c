"""What every checkpoint store has to do, as tests: a store's own test class inherits them.

A store's class gives the fixture `place`: something on which a store can be opened again and again,
as after a crash, by processes of the test's choosing.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import pytest

from saga.errors import (
    BatchConflict,
    InvalidInput,
    OwnershipLost,
    SagaError,
    StoreError,
    StoreHeld,
)
from saga.events import Completed, Paused, Started, Submitted
from saga.model import Batch
from saga.store.ownership import LEASE_SECONDS
from saga.store.process import Process
from saga.store.protocol import (
    Append,
    Change,
    CheckpointStore,
    JournalRecord,
    Migration,
    Projection,
)
from tests.manual_clock import ManualClock
from tests.store.sample_appends import (
    NOON,
    batch_id,
    batch_row,
    first,
    following,
    intended,
    sample_batch,
    whole_life,
)

ME = Process(pid=100, host="here", token="boot/1")
NEIGHBOUR = Process(pid=200, host="here", token="boot/2")
STRANGER = Process(pid=100, host="elsewhere", token="other/1")
CONTAINED = Process(pid=100, host="here", token="boot/3", namespace=4026532200)


class FakeProcesses:
    """Processes that live until a test says otherwise."""

    def __init__(self, current: Process, dead: Sequence[Process] = ()) -> None:
        self._current = current
        self.dead = set(dead)

    def current(self) -> Process:
        return self._current

    def is_alive(self, process: Process) -> bool:
        return process not in self.dead


class Place(Protocol):
    """One durable place, on which stores are opened."""

    clock: ManualClock

    def store(
        self,
        *,
        process: Process = ME,
        dead: Sequence[Process] = (),
        projections: Sequence[Projection] = (),
    ) -> AbstractAsyncContextManager[CheckpointStore]:
        """Return a store of this place, not yet entered, as the given process sees it."""
        ...

    async def usurp(self) -> None:
        """Take the ownership over from outside, as another process would, without closing."""
        ...


class Refuser:
    """A projection that refuses some batches, and notes each change that it applied."""

    name = "refuser"
    migrations = (
        Migration(
            number=1,
            name="notes",
            up=("CREATE TABLE refuser_notes (batch_uid TEXT NOT NULL, number INTEGER NOT NULL)",),
            down=("DROP TABLE refuser_notes",),
        ),
    )

    def __init__(self, *refused: str, error: Exception | None = None) -> None:
        self._refused = refused
        self._error = error or InvalidInput("not enough cash")

    def project(self, connection: Any, batch: Batch, change: Change) -> None:
        connection.execute(
            "INSERT INTO refuser_notes VALUES (?, ?)", (batch.batch_id, change.number)
        )
        if batch.batch_id in self._refused:
            raise self._error


async def all_records(store: CheckpointStore, **which: Any) -> list[JournalRecord]:
    return [record async for record in store.records(**which)]


class StoreContract:
    """The contract; every test is about one promise of `CheckpointStore`."""

    @pytest.mark.requirement("D6", "S1")
    async def test_what_was_appended_is_there_after_reopening(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
            for append in whole_life():
                await store.append(append)
        async with place.store() as store:
            journal = await store.journal(batch_id(1))
        written = [change for append in whole_life() for change in append.changes]
        assert [(r.number, r.at, r.event) for r in journal] == [
            (change.number, change.at, change.event) for change in written
        ]
        assert {record.batch_id for record in journal} == {batch_id(1)}

    @pytest.mark.requirement("S1")
    async def test_a_batch_comes_back_equal(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
            await store.append(first())
            (record,) = await store.journal(batch_id(1))
        assert isinstance(record.event, Submitted)
        assert record.event.batch == sample_batch()
        assert record.event.batch.model_dump_json() == sample_batch().model_dump_json()

    async def test_append_returns_the_last_global_sequence_number(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
            assert await store.last_sequence() == 0
            assert await store.append(first(1)) == 1
            assert await store.append(first(2)) == 2
            assert await store.append(following(1, 2, Started(), intended(0))) == 4
            assert await store.last_sequence() == 4

    @pytest.mark.requirement("S8")
    async def test_the_global_sequence_has_no_gap_where_an_append_was_refused(
        self, place: Place
    ) -> None:
        async with place.store() as store:
            await store.acquire()
            await store.append(first(1))
            with pytest.raises(BatchConflict):
                await store.append(first(1))
            await store.append(first(2))
            assert [record.sequence for record in await all_records(store)] == [1, 2]

    async def test_the_journal_of_an_unknown_batch_is_empty(self, place: Place) -> None:
        async with place.store() as store:
            assert await store.journal(batch_id(9)) == ()

    async def test_many_journals_are_read_in_one_go_each_as_it_is_read_alone(
        self, place: Place
    ) -> None:
        async with place.store() as store:
            await store.acquire()
            for number in (1, 2):
                for append in whole_life(number):
                    await store.append(append)
            asked = [batch_id(2), batch_id(9), batch_id(1)]
            alone = [await store.journal(each) for each in asked]
            assert list(await store.journals(asked)) == alone
            assert list(await store.journals([])) == []

    async def test_a_second_first_record_is_refused_and_changes_nothing(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
            await store.append(first(1))
            before = await store.journal(batch_id(1))
            with pytest.raises(BatchConflict, match=batch_id(1)):
                await store.append(first(1))
            assert await store.journal(batch_id(1)) == before

    @pytest.mark.parametrize("number", [1, 3, 7])
    async def test_numbers_that_do_not_follow_are_refused(self, place: Place, number: int) -> None:
        async with place.store() as store:
            await store.acquire()
            await store.append(first(1))
            with pytest.raises((StoreError, BatchConflict)):
                await store.append(following(1, number, Started()))
            assert len(await store.journal(batch_id(1))) == 1

    async def test_a_gap_inside_an_append_is_refused(self, place: Place) -> None:
        batch = sample_batch()
        changes = (Change(2, NOON, Started()), Change(4, NOON, Completed()))
        async with place.store() as store:
            await store.acquire()
            await store.append(first(1))
            with pytest.raises(StoreError, match="without a gap"):
                await store.append(Append(batch, changes, batch_row(batch), ()))
            assert await store.last_sequence() == 1

    @pytest.mark.requirement("S18")
    async def test_an_append_that_holds_the_row_of_another_batch_is_refused(
        self, place: Place
    ) -> None:
        async with place.store() as store:
            await store.acquire()
            await store.append(first(1))
            for append in (first(2), following(1, 2, Started())):
                other = replace(append.batch_row, batch_id=batch_id(3))
                with pytest.raises(StoreError, match=f"holds the row of {batch_id(3)}"):
                    await store.append(replace(append, batch_row=other))
            assert await store.last_sequence() == 1
            assert await store.unfinished() == {batch_id(1): "main"}

    async def test_the_first_record_of_a_saga_must_be_number_one(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
            with pytest.raises(StoreError, match="follow on record 0"):
                await store.append(following(1, 2, Started()))
            assert await store.unfinished() == {}

    async def test_an_append_without_records_is_refused(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
            with pytest.raises(StoreError, match="no record"):
                await store.append(replace(first(1), changes=()))

    @pytest.mark.requirement("B6")
    async def test_appends_at_the_same_time_are_all_written_once(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
            sequences: list[int] = []

            async def write(number: int) -> None:
                sequences.append(await store.append(first(number)))
                sequences.append(await store.append(following(number, 2, Started())))

            async with anyio.create_task_group() as group:
                for number in range(1, 31):
                    group.start_soon(write, number)
            assert sorted(sequences) == list(range(1, 61))
            assert [r.sequence for r in await all_records(store)] == list(range(1, 61))

    @pytest.mark.requirement("S18")
    async def test_a_refusal_among_concurrent_appends_reaches_only_its_caller(
        self, place: Place
    ) -> None:
        outcomes: dict[int, str] = {}
        async with place.store() as store:
            await store.acquire()
            await store.append(first(3))

            async def write(number: int) -> None:
                try:
                    await store.append(first(number))
                    outcomes[number] = "written"
                except BatchConflict:
                    outcomes[number] = "refused"

            async with anyio.create_task_group() as group:
                for number in range(1, 6):
                    group.start_soon(write, number)
            assert outcomes == {n: "refused" if n == 3 else "written" for n in range(1, 6)}
            assert [record.sequence for record in await all_records(store)] == [1, 2, 3, 4, 5]

    @pytest.mark.requirement("B11")
    async def test_unfinished_sagas_are_listed_with_their_keys_in_the_order_of_their_submission(
        self, place: Place
    ) -> None:
        async with place.store() as store:
            await store.acquire()
            for number in (3, 1):
                await store.append(first(number))
            alone = first(2)
            await store.append(
                replace(alone, batch_row=replace(alone.batch_row, exclusion_key=None))
            )
            for append in whole_life(1)[1:]:
                await store.append(append)
        async with place.store() as store:
            unfinished = await store.unfinished()
            assert list(unfinished.items()) == [(batch_id(3), "main"), (batch_id(2), None)]

    async def test_a_saga_that_is_set_aside_is_listed_with_its_reason_until_it_is_taken_back(
        self, place: Place
    ) -> None:
        async with place.store() as store:
            await store.acquire()
            await store.append(first(1))
            await store.append(first(2))
            await store.quarantine(batch_id(1), "record 1 was altered")
            await store.quarantine(batch_id(1), "record 1 does not decode")
        async with place.store() as store:
            assert await store.quarantined() == {batch_id(1): "record 1 does not decode"}
            assert list(await store.unfinished()) == [batch_id(1), batch_id(2)]
            await store.acquire()
            await store.lift_quarantine(batch_id(1))
            await store.lift_quarantine(batch_id(1))
            assert await store.quarantined() == {}

    async def test_records_are_taken_up_behind_a_sequence_number(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
            await store.append(first(1))
            await store.append(first(2))
            await store.append(following(1, 2, Started(), Paused(by="a", reason="b")))
            assert [r.sequence for r in await all_records(store)] == [1, 2, 3, 4]
            assert [r.sequence for r in await all_records(store, after=2)] == [3, 4]
            assert [r.sequence for r in await all_records(store, after=9)] == []
            one = await all_records(store, after=1, batch_id=batch_id(1))
            assert [(r.sequence, r.number, r.batch_id) for r in one] == [
                (3, 2, batch_id(1)),
                (4, 3, batch_id(1)),
            ]
            assert await all_records(store, batch_id=batch_id(5)) == []

    async def test_more_records_than_a_page_come_in_order(self, place: Place) -> None:
        events = [Started()] * 1300
        async with place.store() as store:
            await store.acquire()
            await store.append(first(1))
            await store.append(following(1, 2, *events))
            assert [r.sequence for r in await all_records(store)] == list(range(1, 1302))
            one = await all_records(store, batch_id=batch_id(1), after=3)
            assert [r.number for r in one] == list(range(4, 1302))

    @pytest.mark.requirement("S12")
    async def test_nothing_is_written_before_the_store_is_acquired(self, place: Place) -> None:
        async with place.store() as store:
            for write in (
                store.append(first(1)),
                store.heartbeat(),
                store.verify_owner(),
                store.quarantine(batch_id(1), "why"),
            ):
                with pytest.raises(OwnershipLost, match="acquire it"):
                    await write
            assert await store.last_sequence() == 0
            assert await store.owner() is None

    @pytest.mark.requirement("S12")
    async def test_each_owner_gets_a_higher_epoch(self, place: Place) -> None:
        for epoch in (1, 2, 3):
            async with place.store() as store:
                owner = await store.acquire()
                assert (owner.epoch, owner.pid, owner.host) == (epoch, ME.pid, ME.host)
                assert await store.owner() == owner
                assert not owner.released
                await store.release()
                left = await store.owner()
                assert left is not None
                assert left.released

    async def test_releasing_what_is_not_held_is_harmless(self, place: Place) -> None:
        async with place.store() as store:
            await store.release()
            await store.acquire()
            await store.release()
            await store.release()

    @pytest.mark.requirement("S12")
    async def test_after_release_nothing_can_be_written(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
            await store.release()
            with pytest.raises(OwnershipLost):
                await store.append(first(1))

    async def test_a_heartbeat_says_when_the_owner_was_last_alive(self, place: Place) -> None:
        async with place.store() as store:
            acquired = await store.acquire()
            place.clock.turn(30)
            await store.heartbeat()
            owner = await store.owner()
        assert owner == replace(acquired, heartbeat_at=place.clock.now())

    @pytest.mark.requirement("S12")
    async def test_a_living_owner_on_this_machine_is_not_replaced(self, place: Place) -> None:
        async with place.store(process=NEIGHBOUR) as store:
            await store.acquire()
        place.clock.turn(10 * LEASE_SECONDS)
        async with place.store() as store:
            with pytest.raises(StoreHeld, match=r"process 200 on here since 2026-11-20 12:00:00"):
                await store.acquire()
            with pytest.raises(OwnershipLost):
                await store.append(first(1))

    @pytest.mark.requirement("S12", "T15")
    async def test_a_dead_owner_on_this_machine_is_replaced_at_once(self, place: Place) -> None:
        async with place.store(process=NEIGHBOUR) as store:
            await store.acquire()
        async with place.store(dead=[NEIGHBOUR]) as store:
            owner = await store.acquire()
        assert (owner.epoch, owner.last_may_live) == (2, False)

    @pytest.mark.requirement("S12", "T15")
    async def test_an_owner_of_this_process_that_never_released_is_replaced(
        self, place: Place
    ) -> None:
        async with place.store() as store:
            await store.acquire()
        async with place.store() as store:
            assert (await store.acquire()).epoch == 2

    @pytest.mark.requirement("S12")
    @pytest.mark.parametrize("other", [STRANGER, CONTAINED], ids=["machine", "PID namespace"])
    async def test_an_owner_elsewhere_keeps_the_store_for_its_lease(
        self, place: Place, other: Process
    ) -> None:
        async with place.store(process=other) as store:
            await store.acquire()
            place.clock.turn(100)
            await store.heartbeat()
        place.clock.turn(LEASE_SECONDS - 1)
        async with place.store(dead=[other]) as store:
            with pytest.raises(StoreHeld, match=f"process 100 on {other.host}"):
                await store.acquire()
            place.clock.turn(1)
            owner = await store.acquire()
        assert (owner.epoch, owner.last_may_live) == (2, True)  # it may be frozen, and thaw

    @pytest.mark.requirement("S12")
    async def test_taking_over_wins_against_a_living_owner(self, place: Place) -> None:
        async with place.store(process=NEIGHBOUR) as store:
            await store.acquire()
        async with place.store() as store:
            owner = await store.acquire(take_over=True)
        assert (owner.epoch, owner.last_may_live) == (2, True)

    @pytest.mark.requirement("S12")
    async def test_a_fenced_owner_can_write_nothing_more(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
            await store.append(first(1))
            await place.usurp()
            for write in (
                store.append(following(1, 2, Started())),
                store.append(first(2)),
                store.heartbeat(),
                store.verify_owner(),
                store.quarantine(batch_id(1), "why"),
            ):
                with pytest.raises(OwnershipLost, match="taken over"):
                    await write
            await store.release()
            assert await store.last_sequence() == 1
            assert await store.quarantined() == {}
            owner = await store.owner()
            assert owner is not None
            assert (owner.epoch, owner.released) == (2, False)

    @pytest.mark.requirement("S18")
    async def test_a_projection_that_refuses_undoes_only_its_own_append(self, place: Place) -> None:
        refused: list[SagaError] = []
        async with place.store(projections=[Refuser(batch_id(2))]) as store:
            await store.acquire()

            async def write(number: int) -> None:
                try:
                    await store.append(first(number))
                except InvalidInput as error:
                    refused.append(error)

            async with anyio.create_task_group() as group:
                for number in (1, 2, 3):
                    group.start_soon(write, number)
            assert [str(error) for error in refused] == ["not enough cash"]
            assert [(r.sequence, r.batch_id) for r in await all_records(store)] == [
                (1, batch_id(1)),
                (2, batch_id(3)),
            ]
            assert await store.journal(batch_id(2)) == ()

    async def test_a_projection_that_breaks_undoes_only_its_own_append(self, place: Place) -> None:
        broken = Refuser(batch_id(1), error=ZeroDivisionError("a bug"))
        async with place.store(projections=[broken]) as store:
            await store.acquire()
            with pytest.raises(ZeroDivisionError):
                await store.append(first(1))
            assert await store.append(first(2)) == 1

    @pytest.mark.requirement("S14")
    async def test_a_cancelled_append_is_written_and_its_caller_learns_of_it(
        self, place: Place
    ) -> None:
        learnt: list[int] = []
        async with place.store() as store:
            await store.acquire()
            with anyio.CancelScope() as scope:
                scope.cancel()
                learnt.append(await store.append(first(1)))
                await anyio.lowlevel.checkpoint()
                learnt.append(-1)  # The cancellation comes after the outcome, not never.
            assert learnt == [1]
            assert await store.append(first(2)) == 2

    @pytest.mark.requirement("S14")
    async def test_a_task_of_a_guest_that_is_cancelled_learns_what_became_of_its_write(
        self, place: Place
    ) -> None:
        learnt: list[int] = []
        async with place.store() as store:
            await store.acquire()

            async def write(number: int) -> None:
                learnt.append(await store.append(first(number)))
                await anyio.lowlevel.checkpoint()
                learnt.append(-1)

            tasks = [asyncio.ensure_future(write(number)) for number in (1, 2, 3)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(end) for end in ends] == [asyncio.CancelledError] * 3
            assert sorted(learnt) == [1, 2, 3]
            assert await store.append(first(4)) == 4

    async def test_a_store_that_is_not_open_says_so(self, place: Place) -> None:
        async with place.store() as store:
            await store.acquire()
        with pytest.raises(StoreError, match="not open"):
            await store.append(first(1))
        with pytest.raises(StoreError, match="not open"):
            await store.journal(batch_id(1))
