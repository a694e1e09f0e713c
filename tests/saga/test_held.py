"""A wait that no cancellation cuts short, and a cancellation that no wait loses."""

import asyncio

import anyio
import pytest

from saga.held import outcome_of


def settled_soon(rounds: int = 5) -> asyncio.Future[int]:
    """Return a future that is done only after some rounds of the loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()

    def count_down(left: int) -> None:
        if left:
            loop.call_soon(count_down, left - 1)
        else:
            future.set_result(1)

    count_down(rounds)
    return future


async def test_a_scope_that_ends_meanwhile_leaves_nothing_behind() -> None:
    with anyio.CancelScope() as scope:
        future = settled_soon()
        asyncio.get_running_loop().call_soon(scope.cancel)
        assert await outcome_of(future) == 1
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # it is nobody's wish any more


async def test_a_scope_that_ends_meanwhile_cancels_what_comes_next() -> None:
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        assert await outcome_of(settled_soon()) == 1
        await anyio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.parametrize("wishes", [1, 2])
async def test_asyncio_cancels_what_comes_next(wishes: int) -> None:
    outcomes: list[int] = []

    async def wait() -> None:
        outcomes.append(await outcome_of(settled_soon()))
        await asyncio.sleep(0)
        outcomes.append(-1)

    task = asyncio.create_task(wait())
    for _ in range(wishes):
        await asyncio.sleep(0)
        task.cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes == [1]
    assert task.cancelling() == wishes


async def test_both_kinds_at_once_are_both_heeded() -> None:
    outcomes: list[int] = []

    async def wait() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            asyncio.get_running_loop().call_later(0, task.cancel)
            outcomes.append(await outcome_of(settled_soon()))
            await asyncio.sleep(0)
            outcomes.append(-1)
        await asyncio.sleep(0)
        outcomes.append(-2)

    task = asyncio.create_task(wait())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes == [1]


async def test_an_error_is_an_outcome() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await outcome_of(future)
