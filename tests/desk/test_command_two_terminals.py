"""Two terminals, signals, and deaths: whose store it is, and who carries on."""

import re
import signal
import socket
import time
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketStream

from desk.control import ask, socket_path
from desk.home import Home
from desk.wishes import Look
from saga.errors import StoreHeld
from tests.desk.conftest import SLOW, Invoke
from tests.desk.terminal import Desk, Running, orders_csv


def _half_way(running: Running, processed: int = 2) -> str:
    """Wait until so many trades of the batch are over; return its id."""
    batch = running.until(lambda batches: batches[0]["processed_trades"] >= processed)
    assert batch["state"] == "RUNNING", batch
    return str(batch["batch_id"])


@pytest.mark.requirement("B9", "D7", "S12")
def test_a_second_terminal_cancels_a_batch_that_the_first_one_runs(
    desk: Desk, invoke: Invoke, several: Path
) -> None:
    first = desk.start("run", several, env=SLOW)
    batch_id = _half_way(first)

    cancelled = desk.run("cancel", batch_id, "--reason", "the wrong file", "--json")
    ran = first.finish()
    shown = invoke("show", batch_id)

    assert cancelled.code == 0, cancelled.err
    assert "What filled is undone at the market, newest first" in cancelled.err
    before = re.search(r"As of now (\d) of 7 legs are not sent\. More may go out", cancelled.err)
    after = re.search(r"(\d) not sent", shown.out)
    not_sent = [each["status"] for each in cancelled.data["trades"]].count("not_sent")
    assert before
    assert after
    assert int(before[1]) >= int(after[1]) == not_sent
    assert "owns the store and carries this out" in cancelled.err
    assert cancelled.data["batch"]["status"] == "cancelled"
    assert ran.code == 1, "for the one who ran it, it did not end as it should"
    assert "the wrong file" in ran.out
    checked = invoke("check")
    assert checked.code == 0, checked.out


@pytest.mark.requirement("S10")
def test_a_check_beside_a_running_batch_finds_nothing_wrong(
    desk: Desk, invoke: Invoke, several: Path
) -> None:
    first = desk.start("run", several, env={"SAGA_PAPER__LATENCY_SECONDS": "0.1"})
    _half_way(first, 1)

    found = [invoke("check", "--json").data["findings"] for _ in range(3)]

    assert found == [[], [], []]
    assert first.finish().code == 0


@pytest.mark.requirement("B9")
def test_a_batch_is_paused_and_let_go_on_from_another_terminal(
    desk: Desk, invoke: Invoke, several: Path
) -> None:
    first = desk.start("run", several, env=SLOW)
    batch_id = _half_way(first, 1)

    paused = desk.run("pause", batch_id, "--reason", "asking the broker", "--json")
    again = desk.run("pause", batch_id, "--reason", "asking the broker")
    shown = invoke("show", batch_id)
    gone_on = desk.run("unpause", batch_id, "--reason", "all is well", "--json")

    assert paused.code == 0, paused.err
    assert paused.data["batch"]["paused"] is True
    assert again.code == 6
    assert f"`saga unpause {batch_id} --reason ...` lets it go on" in shown.out
    assert gone_on.code == 0, gone_on.err
    assert gone_on.data["batch"]["status"] == "success"
    assert first.finish().code == 0


@pytest.mark.requirement("B6", "T6")
def test_a_second_run_is_handed_to_the_owner_which_stays_for_it(
    desk: Desk, several: Path, tmp_path: Path
) -> None:
    first = desk.start("run", several, env=SLOW)
    _half_way(first, 1)
    other = orders_csv(tmp_path / "other.csv", ("XOM", "buy", 1))

    handed = desk.run("run", other, "--no-wait", "--json")
    ran = first.finish()

    assert handed.code == 0, handed.err
    assert ran.code == 0
    assert f"Staying for {handed.data['batch']['batch_id']}" in ran.err
    assert {batch["status"] for batch in desk.batches()} == {"success"}
    assert len(desk.batches()) == 2


@pytest.mark.requirement("B4")
def test_nobody_to_carry_it_on_is_no_place_to_leave_a_batch(desk: Desk, orders: Path) -> None:
    done = desk.run("run", orders, "--no-wait")

    assert done.code == 6
    assert "--no-wait needs another process" in done.err
    assert desk.batches() == []


@pytest.mark.requirement("D6", "D7", "B11", "T15", "S1", "S3")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_a_signal_ends_is_taken_up_again(
    desk: Desk, invoke: Invoke, several: Path, number: signal.Signals
) -> None:
    first = desk.start("run", several, env=SLOW)
    batch_id = _half_way(first)

    first.signal(number)
    ended = first.finish()

    assert "Traceback" not in ended.err
    if number is signal.SIGKILL:
        assert ended.code == -signal.SIGKILL
        doctor = invoke("doctor")
        assert "is dead; `saga run` without a file takes up what it left" in doctor.out
    else:
        assert ended.code == 130
        assert "Leaving cleanly" in ended.err
        assert "`saga run` without a file takes up what is unfinished" in ended.err
    resumed = invoke("run", "--json")
    assert resumed.code == 0, resumed.err
    assert [(b["batch_id"], b["status"]) for b in resumed.data["batches"]] == [
        (batch_id, "success")
    ]
    assert invoke("check").code == 0


@pytest.mark.requirement("D6", "B9")
def test_a_cancel_that_finds_nobody_becomes_the_owner_itself(
    desk: Desk, invoke: Invoke, several: Path
) -> None:
    first = desk.start("run", several, env=SLOW)
    batch_id = _half_way(first)
    first.signal(signal.SIGKILL)
    first.finish()

    cancelled = desk.run("cancel", batch_id, "--reason", "it died", "--json")

    assert cancelled.code == 0, cancelled.err
    assert cancelled.data["batch"]["status"] == "cancelled"
    assert cancelled.data["in_place"] == []
    assert invoke("check").code == 0


@pytest.mark.requirement("D6", "T15")
def test_a_watcher_takes_the_place_of_an_owner_that_dies(
    desk: Desk, several: Path, tmp_path: Path
) -> None:
    first = desk.start("run", several, env=SLOW)
    _half_way(first, 1)
    other = orders_csv(tmp_path / "other.csv", ("XOM", "buy", 1))
    second = desk.start("run", other, "--json")
    second.until_said("owns the store and carries this out")

    first.signal(signal.SIGKILL)
    first.finish()
    done = second.finish()

    assert "this one takes its place" in done.err
    assert done.code == 0, done.err
    assert {batch["status"] for batch in desk.batches()} == {"success"}


@pytest.mark.requirement("D6")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_seconds", [0.0, 0.3, 1.0])
def test_a_signal_at_any_moment_ends_the_command_without_a_traceback(
    desk: Desk, several: Path, number: signal.Signals, after_seconds: float
) -> None:
    running = desk.start("run", several, env=SLOW)
    running.until_it_hears()
    time.sleep(after_seconds)  # the moment is what is tested; it may fall anywhere

    running.signal(number)
    done = running.finish()

    assert done.code == 130, done
    assert "Traceback" not in done.err
    assert "KeyboardInterrupt" not in done.err


@pytest.mark.requirement("D6")
def test_a_second_signal_stops_at_once(desk: Desk, several: Path) -> None:
    running = desk.start("run", several, env={"SAGA_PAPER__LATENCY_SECONDS": "4"})
    running.until(lambda batches: batches[0]["state"] == "RUNNING")

    running.signal(signal.SIGINT)
    running.until_said("once more stops at once")
    began = time.monotonic()
    running.signal(signal.SIGINT)
    done = running.finish()

    assert done.code == 130
    assert time.monotonic() - began < 2.0


@pytest.mark.requirement("S12")
def test_a_socket_left_behind_by_a_dead_owner_is_removed(desk: Desk, orders: Path) -> None:
    desk.home.mkdir(mode=0o700)
    path = socket_path(Home(desk.home))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))

    done = desk.run("run", orders)

    assert done.code == 0, done.err
    assert not path.exists(), "the owner takes its own socket away"


@pytest.mark.requirement("D7")
def test_a_folder_whose_path_is_too_long_for_a_socket_is_served_elsewhere(
    tmp_path: Path, several: Path
) -> None:
    desk = Desk(tmp_path / ("long " * 25))
    assert not socket_path(Home(desk.home)).is_relative_to(desk.home)
    first = desk.start("run", several, env=SLOW)
    batch_id = _half_way(first, 1)

    cancelled = desk.run("cancel", batch_id, "--reason", "from afar", "--json")

    assert cancelled.code == 0, cancelled.err
    assert first.finish().code == 1


@pytest.mark.requirement("D6")
@pytest.mark.scenario("F11")
def test_two_terms_and_an_interrupt_leave_what_a_crash_leaves(
    desk: Desk, invoke: Invoke, orders: Path
) -> None:
    running = desk.start("run", orders, env={"SAGA_PAPER__LATENCY_SECONDS": "2"})
    running.until(lambda batches: batches[0]["state"] == "RUNNING")

    running.signal(signal.SIGTERM)
    running.until_said("once more stops at once")
    running.signal(signal.SIGTERM)
    running.signal(signal.SIGINT)
    ended = running.finish()

    assert "Traceback" not in ended.err
    resumed = invoke("run", "--json")
    assert resumed.code == 0, resumed.err
    assert [batch["status"] for batch in resumed.data["batches"]] == ["success"]
    assert invoke("check").code == 0


@pytest.mark.requirement("B9", "T11")
def test_half_an_answer_of_an_owner_that_died_is_no_answer(tmp_path: Path) -> None:
    home = Home(tmp_path)

    async def die_half_way(client: SocketStream) -> None:
        async with client:
            await client.receive()
            await client.send(b'{"ok": true, "pid": ')

    async def work() -> None:
        listener = await anyio.create_unix_listener(socket_path(home))
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, die_half_way)
            with pytest.raises(StoreHeld, match="whether it heard the wish is not known"):
                await ask(home, Look(batch_id="BAT_20261121_120000_abcde"))
            tasks.cancel_scope.cancel()

    anyio.run(work)
