"""The calls of one saga: how they fail, and that none is left behind."""

import asyncio

import anyio
import pytest

from saga.under_way import CallCancelled, CallsUnderWay


class Heard:
    """Counts how often a failure was told."""

    def __init__(self) -> None:
        self.times = 0
        self.once = anyio.Event()

    def __call__(self) -> None:
        self.times += 1
        self.once.set()


async def test_what_a_call_fails_with_is_raised_and_nothing_more_is_begun() -> None:
    heard = Heard()
    calls = CallsUnderWay(heard)
    begun: list[int] = []

    async def fail() -> None:
        raise ValueError("no")

    async def work() -> None:
        begun.append(1)

    calls.raise_failure()
    calls.begin(fail)
    await heard.once.wait()
    assert heard.times == 1
    with pytest.raises(ValueError, match="no"):
        calls.raise_failure()
    with pytest.raises(ValueError, match="no"):
        calls.begin(work)
    await calls.end()
    assert begun == []


async def test_of_several_failures_the_first_is_raised() -> None:
    heard = Heard()
    calls = CallsUnderWay(heard)

    async def fail(why: str) -> None:
        raise ValueError(why)

    for why in ("the cause", "what followed"):
        calls.begin(fail, why)
    await heard.once.wait()
    assert heard.times == 2
    with pytest.raises(ValueError, match="the cause"):
        calls.raise_failure()


async def test_every_call_that_is_left_is_ended() -> None:
    calls = CallsUnderWay(Heard())
    let_go = anyio.Event()
    cut_short: list[int] = []

    async def hang(number: int) -> None:
        try:
            await let_go.wait()
        except asyncio.CancelledError:
            cut_short.append(number)
            raise

    for number in range(3):
        calls.begin(hang, number)
    await anyio.wait_all_tasks_blocked()
    ending = asyncio.ensure_future(calls.end())
    await anyio.wait_all_tasks_blocked()
    let_go.set()  # whoever was not ended keeps nobody waiting
    await ending
    assert cut_short == [0, 1, 2]


async def test_a_call_that_swallows_its_cancellation_is_asked_again_until_it_ends() -> None:
    calls = CallsUnderWay(Heard())
    asked = 0

    async def stubborn() -> None:
        nonlocal asked
        while asked < 3:
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                asked += 1

    calls.begin(stubborn)
    await anyio.wait_all_tasks_blocked()
    await calls.end()
    assert asked == 3
    calls.raise_failure()


async def test_what_a_call_shields_is_waited_for_whoever_is_cancelled() -> None:
    calls = CallsUnderWay(Heard())
    ended: list[str] = []

    async def commit() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)
        ended.append("the call")

    calls.begin(commit)
    await anyio.wait_all_tasks_blocked()
    with anyio.move_on_after(0.01):
        await calls.end()
        ended.append("the wait")
        await anyio.sleep_forever()
    assert ended == ["the call", "the wait"]


async def test_a_call_that_could_not_begin_before_the_end_never_does() -> None:
    calls = CallsUnderWay(Heard())
    begun: list[int] = []

    async def work() -> None:
        begun.append(1)

    calls.begin(work)
    await calls.end()
    assert begun == []


def cancel_this_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def test_a_call_that_somebody_else_cancels_has_failed() -> None:
    heard = Heard()
    calls = CallsUnderWay(heard)

    async def cancel_oneself() -> None:
        cancel_this_task()
        await asyncio.sleep(0)

    calls.begin(cancel_oneself)
    await heard.once.wait()
    assert heard.times == 1
    with pytest.raises(CallCancelled):
        calls.raise_failure()
    await calls.end()


async def test_a_call_that_was_made_whole_before_its_task_could_be_cancelled_has_not_failed() -> (
    None
):
    heard = Heard()
    calls = CallsUnderWay(heard)

    async def cancel_oneself() -> None:
        cancel_this_task()

    calls.begin(cancel_oneself)
    await calls.end()
    calls.raise_failure()
    assert heard.times == 0
