"""`saga halt`, `reduce`, `activate`, and the limits of the settings: in one terminal and in two."""

import errno
from pathlib import Path

import pytest

from tests.desk.conftest import Invoke
from tests.desk.terminal import Desk, orders_csv

SLOW = {"SAGA_PAPER__LATENCY_SECONDS": "1.0"}
"""So slow that another process can be started while a batch runs, on a busy machine too."""


@pytest.mark.scenario("H1")
@pytest.mark.requirement("S13", "L4")
def test_a_halt_from_a_second_terminal_stops_and_undoes_what_the_first_one_runs(
    desk: Desk, invoke: Invoke, several: Path
) -> None:
    first = desk.start("run", several, env=SLOW)
    first.until(lambda batches: batches[0]["processed_trades"] >= 2)

    halted = desk.run("halt", "--reason", "prices are wrong", "--by", "ann", "--json")
    ran = first.finish()

    assert halted.code == 0, halted.err
    assert halted.data["trading_state"] == "HALTED"
    assert (halted.data["by"], halted.data["reason"]) == ("ann", "prices are wrong")
    assert halted.data["since"] is not None, "the owner has noted it"
    assert "it is cancelled, and undone as its mode says" in halted.err
    assert ran.code == 1
    (batch,) = desk.batches()
    assert batch["status"] == "cancelled"
    trades = invoke("show", batch["batch_id"], "--json").data["trades"]
    assert [each["status"] for each in trades].count("undone") >= 2, trades
    assert invoke("check").code == 4, "a halt waits for a person"


@pytest.mark.requirement("S13")
def test_a_halted_desk_says_so_everywhere_and_takes_nothing_in(
    traded: Desk, invoke: Invoke, orders: Path
) -> None:
    assert invoke("halt", "--reason", "the night\nis long").code == 0

    refused = invoke("run", orders, "-y")
    looked = [invoke("list"), invoke("doctor"), invoke("check")]

    assert refused.code == 6
    assert "trading is HALTED" in refused.err
    assert "nothing was stored or sent" in refused.err
    for each in looked:
        assert "HALTED" in each.out + each.err, each
        assert "the night is long" in (each.out + each.err).replace("\n", " ")
    assert len(traded.batches()) == 1


@pytest.mark.requirement("S13")
def test_trading_is_let_go_on_by_hand_without_an_owner(
    traded: Desk, invoke: Invoke, several: Path
) -> None:
    invoke("halt", "--reason", "stop")
    reduced = invoke("reduce", "--reason", "careful", "-y", "--json")
    ran = invoke("run", several, "-y")
    active = invoke("activate", "--reason", "all is well", "-y", "--json")
    again = invoke("activate", "--reason", "all is well", "-y")

    assert reduced.data["trading_state"] == "REDUCING"
    assert ran.code == 1
    assert "would not lower an exposure" in ran.out
    (withheld, *_) = invoke("show", traded.batches()[0]["batch_id"], "--json").data["orders"]
    assert withheld["status"] == "withheld by the trading state; never sent"
    assert withheld["sent_at"] is None
    assert active.data["trading_state"] == "ACTIVE"
    assert again.code == 6
    assert "trading is ACTIVE already" in again.err


@pytest.mark.requirement("S13")
def test_the_owner_of_the_store_is_asked_to_change_the_trading_state(
    desk: Desk, several: Path
) -> None:
    first = desk.start("run", several, "-y", env=SLOW)
    first.until(lambda batches: batches[0]["processed_trades"] >= 1)

    beside = desk.run("reduce", "--reason", "careful", "-y")
    ran = first.finish()

    assert beside.code == 0, beside.err
    assert "owns the store, and has noted it" in beside.err
    assert ran.code == 1
    assert "REDUCING" in ran.out


@pytest.mark.requirement("S13")
def test_a_limit_of_the_settings_refuses_and_names_the_file_where_it_is_set(
    desk: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    desk.home.mkdir()
    settings = desk.home / "saga.toml"
    settings.write_text('[risk]\nmax_order_notional = "1000"\nsymbols = ["KO"]\n')

    large = invoke("run", orders_csv(tmp_path / "large.csv", ("KO", "buy", 50)), "-y")
    other = invoke("run", orders_csv(tmp_path / "other.csv", ("PG", "buy", 1)), "-y")
    small = invoke("run", orders_csv(tmp_path / "small.csv", ("KO", "buy", 10)), "-y")

    assert large.code == 6
    assert "max_order_notional: buy 50 KO comes to 3141.3, and the limit is 1000" in " ".join(
        large.err.split()
    ), large.err
    assert str(settings) in large.err.replace("\n", "")
    assert other.code == 6
    assert "symbols: PG is not among them, and the limit is KO" in other.err
    assert small.code == 0, small.err


@pytest.mark.requirement("S13")
def test_an_order_that_our_own_limit_withheld_is_not_told_as_sent_or_refused(
    traded: Desk, invoke: Invoke, orders: Path
) -> None:
    (traded.home / "saga.toml").write_text("[risk]\nduplicate_window_seconds = 3600\n")
    ran = invoke("run", orders, "-y")  # the very orders that this desk has just traded
    batch_id = traded.batches()[0]["batch_id"]

    shown = " ".join(invoke("show", batch_id).out.split())
    (order, *_) = invoke("show", batch_id, "--json").data["orders"]

    assert ran.code == 1, ran.err
    assert "Orders: what was sent to the broker, or withheld" in shown
    assert order["status"] == "withheld by your own limit; never sent"
    assert order["sent_at"] is order["broker_order_id"] is None
    assert "duplicate_window_seconds" in order["reason"]
    assert "refused or cancelled" not in shown


@pytest.mark.requirement("S13")
def test_a_dry_run_says_what_the_limits_and_the_trading_state_would_refuse(
    traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    settings = traded.home / "saga.toml"
    buy = orders_csv(tmp_path / "buy.csv", ("KO", "buy", 5))
    sell = orders_csv(tmp_path / "sell.csv", ("KO", "sell", 5))

    allowed = invoke("run", buy, "--dry-run")
    settings.write_text('[risk]\nsymbols = ["PG"]\n')
    limited = invoke("run", buy, "--dry-run", "--json")
    settings.unlink()
    invoke("reduce", "--reason", "careful", "-y")
    more, less = (invoke("run", each, "--dry-run", "--json") for each in (buy, sell))
    invoke("halt", "--reason", "stop")
    halted = invoke("run", sell, "--dry-run", "--json")

    assert allowed.code == less.code == 0, (allowed.err, less.err)
    assert less.data["would_be_refused"] is None
    for refused, words in (
        (limited, "symbols: KO is not among them"),
        (more, "1 of 1 legs would not pass, for example leg 1: trading is REDUCING"),
        (halted, "trading is HALTED"),
    ):
        assert refused.code == 6
        assert "It would be refused: " in refused.err
        assert words in refused.data["would_be_refused"]
        assert refused.data["legs"], "the plan is shown all the same"


@pytest.mark.requirement("S13", "D5")
def test_a_dry_run_judges_what_went_out_before_and_names_what_only_a_run_can_tell(
    traded: Desk, invoke: Invoke, orders: Path, tmp_path: Path
) -> None:
    settings = traded.home / "saga.toml"
    four = orders_csv(tmp_path / "four.csv", *((s, "buy", 1) for s in ("KO", "PG", "AAPL", "JPM")))
    at_once = ("--mode", "PARALLEL", "--dry-run", "--json")

    settings.write_text("[risk]\nduplicate_window_seconds = 3600\n")
    again = invoke("run", orders, "--dry-run", "--json")
    settings.write_text("[risk]\nmax_orders_per_day = 6\n")
    too_many = invoke("run", four, "--dry-run", "--json")
    settings.write_text("[risk]\nmax_orders_per_second = 1\nmax_wait_seconds = 2\n")
    fast = invoke("run", four, *at_once)
    settings.write_text("[risk]\nmax_orders_per_day = 7\nmax_compensations_per_day = 9\n")
    enough = invoke("run", four, "--dry-run")

    for refused, words in (
        (again, "2 of 2 legs would not pass, for example leg 1: duplicate_window_seconds: buy 50"),
        (too_many, "1 of 4 legs would not pass, for example leg 4: max_orders_per_day: 6 went out"),
    ):
        assert refused.code == 6, refused.out
        assert words in refused.data["would_be_refused"]
    assert too_many.data["judged_by_what_went_out"] == [
        "max_orders_per_day: 3 went out within the last 24 hours (transfers of cash count), this "
        "batch has 4, and 6 is the limit"
    ]
    assert fast.code == 0, "the rate is no reason to refuse a batch beforehand"
    (rate,) = fast.data["not_judged"]
    assert "4 of this batch may ask at once, but only 3 get their turn within 2 s" in rate
    assert enough.code == 0, enough.err
    said = " ".join(enough.out.split())
    assert "Judged as the store is now: max_orders_per_day: 3 went out" in said
    assert "Only a run can tell: max_compensations_per_day: whether an undo would pass" in said
    assert "0 undos went out within the last 24 hours, and 9 is the limit" in said


def test_a_dry_run_without_limits_on_pace_says_nothing_of_them(
    traded: Desk, invoke: Invoke, orders: Path
) -> None:
    done = invoke("run", orders, "--dry-run", "--json")

    assert done.code == 0, done.err
    assert done.data["judged_by_what_went_out"] == done.data["not_judged"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("halt", "--reason", " "), "--reason: must say something"),
        (("activate", "--reason", ""), "--reason: must say something"),
        (("halt",), "Missing option '--reason'"),
    ],
)
def test_a_trading_state_is_not_set_without_a_reason(
    traded: Desk, invoke: Invoke, arguments: tuple[str, ...], words: str
) -> None:
    refused = invoke(*arguments)

    assert refused.code == 2
    assert words in refused.err
    assert not (traded.home / "saga.db.halt").exists()


def test_a_folder_without_a_store_cannot_be_halted(desk: Desk, invoke: Invoke) -> None:
    refused = invoke("halt", "--reason", "stop")

    assert refused.code == 5
    assert "there is no store" in refused.err


@pytest.fixture(params=["portfolio = [\n", "[risk]\nmax_ordr = 1\n"], ids=["no TOML", "unknown"])
def unusable(request: pytest.FixtureRequest) -> str:
    """Settings that cannot be used."""
    return str(request.param)


@pytest.mark.requirement("S13", "L4")
def test_a_halt_needs_no_settings_that_can_be_used(
    traded: Desk, invoke: Invoke, orders: Path, unusable: str
) -> None:
    (traded.home / "saga.toml").write_text(unusable)

    halted = invoke("halt", "--reason", "stop", "--json")
    refused = invoke("run", orders, "-y")
    looks = [invoke("list"), invoke("events"), invoke("portfolio")]
    checked = invoke("check")
    active = invoke("activate", "--reason", "all is well", "-y")

    assert halted.code == 0, halted.err
    assert halted.data["trading_state"] == "HALTED"
    assert "WARNING: this goes on without your settings: " in halted.err
    assert "saga.toml" in halted.err.replace("\n", "")
    assert refused.code == 2
    assert "saga.toml" in refused.err.replace("\n", "")
    assert checked.code == 4, "a halt waits for a person"
    assert all(each.code == 0 for each in (*looks, active)), looks
    for each in (*looks, checked, active):
        assert "WARNING: this goes on without your settings" in each.err
    assert not (traded.home / "saga.db.halt").exists()


@pytest.mark.requirement("S13", "L4")
def test_a_batch_that_runs_is_cancelled_beside_settings_that_cannot_be_used(
    desk: Desk, several: Path, unusable: str
) -> None:
    first = desk.start("run", several, env=SLOW)
    batch = first.until(lambda batches: batches[0]["processed_trades"] >= 1)
    (desk.home / "saga.toml").write_text(unusable)

    cancelled = desk.run("cancel", batch["batch_id"], "--reason", "stop", "-y")
    first.finish()

    assert cancelled.code == 0, cancelled.err
    assert desk.batches()[0]["status"] == "cancelled"


@pytest.mark.requirement("S13")
def test_nobody_becomes_the_owner_with_limits_that_nobody_knows(
    desk: Desk, invoke: Invoke, several: Path, unusable: str
) -> None:
    first = desk.start("run", several, env=SLOW)
    batch = first.until(lambda batches: batches[0]["processed_trades"] >= 1)
    first.process.kill()
    first.finish()
    (desk.home / "saga.toml").write_text(unusable)

    refused = invoke("cancel", batch["batch_id"], "--reason", "stop", "-y")

    assert refused.code == 2
    assert "no process owns the store, so nothing is sent now" in " ".join(refused.err.split())
    assert desk.batches()[0]["state"] == "RUNNING"


def test_the_help_of_halt_names_the_file_that_halts_when_nothing_else_works(
    invoke: Invoke,
) -> None:
    assert "touch saga.db.halt" in " ".join(invoke("halt", "--help").out.split())


@pytest.mark.requirement("S13")
def test_a_halt_whose_reason_cannot_be_kept_holds_and_says_so(
    traded: Desk, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("saga.store.halt_file.tempfile.mkstemp", full)
    halted = invoke("halt", "--reason", "prices are wrong", "--json")

    assert (halted.code, halted.data["trading_state"]) == (0, "HALTED"), halted.err
    said = " ".join(halted.err.split())
    assert "Trading is halted all the same" in said
    assert "the reason could not be kept" in said
    assert (traded.home / "saga.db.halt").exists()
