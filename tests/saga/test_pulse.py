"""Whoever waits for news hears of each that came since he looked, and of none twice."""

import gc

import anyio
import pytest

from saga.pulse import Pulse, Pulses


async def test_a_beat_wakes_everybody_who_waits() -> None:
    pulse, woken = Pulse(), 0

    async def wait() -> None:
        nonlocal woken
        await pulse.behind(pulse.beats)
        woken += 1

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert woken == 0
        pulse.beat()
    assert woken == 2


async def test_a_beat_between_the_look_and_the_wait_is_not_missed() -> None:
    pulse = Pulse()
    seen = pulse.beats
    pulse.beat()
    with anyio.fail_after(1):
        await pulse.behind(seen)


async def test_what_was_seen_is_not_told_again() -> None:
    pulse = Pulse()
    pulse.beat()
    with pytest.raises(TimeoutError), anyio.fail_after(0.01):
        await pulse.behind(pulse.beats)


async def test_who_no_longer_waits_is_not_woken_and_not_remembered() -> None:
    pulse = Pulse()
    for _ in range(3):
        with anyio.move_on_after(0.001):
            await pulse.behind(pulse.beats)
    assert not pulse._waiting
    pulse.beat()


async def test_who_waits_for_one_name_hears_of_that_alone_and_who_waits_for_all_of_each() -> None:
    pulses = Pulses()
    one, other, every = pulses.of("one"), pulses.of("other"), pulses.of(None)
    assert pulses.of("one") is one
    pulses.beat("one")
    pulses.beat("nobody waits for this")
    assert (one.beats, other.beats, every.beats) == (1, 0, 2)
    pulses.beat_all()
    assert (one.beats, other.beats, every.beats) == (2, 1, 3)


async def test_a_name_for_which_nobody_waits_any_more_is_forgotten() -> None:
    pulses = Pulses()
    pulse = pulses.of("one")
    pulses.beat("one")
    del pulse
    gc.collect()
    assert pulses.of("one").beats == 0
