"""G. Bad input, one test for each scenario: refused whole, before anything is kept or sent."""

import json
from decimal import Decimal
from typing import Any

import pytest

from brokers import Buy
from desk.settings import configure
from saga.errors import BatchConflict, InvalidInput, NoSuchBatch
from saga.model import Batch, parse_batch
from tests.scenarios.stage import Stage, batch, buy, events_of, kinds, sell

MAX_SHOWN = 2_000
"""A refusal is a sentence; it never carries a megabyte of what it refuses."""


LEG = {"directive_id": "EXE_1", "kind": "sell", "symbol": "KO", "quantity": "1"}


def document(**order: Any) -> str:
    leg = {"directive_id": "EXE_1", "kind": "buy", "symbol": "KO", "quantity": "1", **order}
    return json.dumps({"directives": [leg], "execution_mode": "ATOMIC"})


def test_the_document_that_is_spoilt_below_is_a_good_one() -> None:
    (directive,) = parse_batch(document()).directives
    assert isinstance(directive, Buy)


@pytest.mark.scenario("G1")
@pytest.mark.parametrize(
    "quantity",
    [
        *("0", 0, "-1", -1, "NaN", "sNaN", "Infinity", "-Infinity", "1e30", "1e-30", 0.1, 1.0),
        *("\uff11", "\u0663", " 1", "1 ", "1_000", "1,000", "0x10", "", "+", True, None, [], {}),
        *("1" * 29, "0." + "0" * 12 + "1", "1\n", "\u22121"),
    ],
    ids=repr,
)
def test_g1_a_quantity_that_is_no_exact_positive_number_is_refused(quantity: Any) -> None:
    with pytest.raises(InvalidInput, match="quantity") as refused:
        parse_batch(document(quantity=quantity))
    assert len(str(refused.value)) < MAX_SHOWN


@pytest.mark.scenario("G1")
@pytest.mark.parametrize("bare", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_g1_a_number_that_json_does_not_know_is_refused(bare: str) -> None:
    with pytest.raises(InvalidInput):
        parse_batch(document(quantity=7).replace("7", bare))


@pytest.mark.scenario("G1")
def test_g1_a_quantity_between_two_lots_is_refused_before_intake(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.engine() as engine:
            with pytest.raises(InvalidInput, match="must be a multiple of"):
                await engine.submit(parse_batch(document(quantity="1.5")))
            assert await engine.store.last_sequence() == 0

    stage.play(scenario)


@pytest.mark.scenario("G3")
def test_g3_one_instrument_on_both_sides_of_a_batch_is_two_legs_and_the_batch_needs_both(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        async with stage.engine() as engine:
            first = batch(buy("KO", 10), sell("KO", 4))
            assert (await engine.run(first)).state == "COMPLETED"
            assert await stage.held() == {"KO": 6}
            # Each leg is undone by itself, newest first: nothing is netted, nothing is guessed.
            second = batch(buy("KO", 10), sell("KO", 4), buy("PG", 10_000_000))
            assert (await engine.run(second)).state == "ROLLED_BACK"
            assert await stage.held() == {"KO": 6}
        ours = [order.client_order_id or "" for order in await stage.orders()]
        undos = [key[-3:] for key in ours if "C" in key[-3:]]
        assert undos == ["1C1", "0C1"]

    stage.play(scenario)


@pytest.mark.scenario("G4")
def test_g4_the_same_legs_in_another_order_are_another_batch(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.engine() as engine:
            order = batch(buy("KO"), buy("PG"))
            await engine.submit(order)
            turned = batch(*reversed(order.directives), batch_id=order.batch_id)
            with pytest.raises(BatchConflict, match="other content"):
                await engine.submit(turned)
            # The order of fields in a document means nothing, the order of legs does.
            dumped = json.loads(order.model_dump_json())
            shuffled = json.dumps(dict(reversed(dumped.items())))
            assert await engine.submit(parse_batch(shuffled)) == order.batch_id
            await engine.wait(order.batch_id)
            assert kinds(await events_of(engine, order)).count("submitted") == 1

    stage.play(scenario)


@pytest.mark.scenario("G5")
def test_g5_a_field_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"quanity.* is not a known field"):
        parse_batch(document(quanity="2"))
    good = json.loads(document())
    with pytest.raises(InvalidInput, match=r"execution_moed.* is not a known field"):
        parse_batch({**good, "execution_moed": "ATOMIC"})


HOSTILE = {
    "a path": "../../etc/passwd",
    "sql": "'; DROP TABLE journal; --",
    "a formula": '=HYPERLINK("http://x","y")',
    "nul": "KO\x00",
    "right to left": "\u202eOK",
    "a lone surrogate": "\ud800",
    "a megabyte": "K" * 1_000_000,
    "a line": "KO\nPG",
    "a script": "<script>alert(1)</script>",
}


@pytest.mark.scenario("G6")
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_g6_a_symbol_that_is_no_symbol_is_refused_and_shown_harmless(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_batch(document(symbol=text))
    said = str(refused.value)
    assert len(said) < MAX_SHOWN
    assert said.isprintable()
    with pytest.raises(InvalidInput):
        parse_batch({"directives": [{**LEG, "symbol": text}], "execution_mode": "ATOMIC"})


@pytest.mark.scenario("G6")
@pytest.mark.parametrize(
    "text", [HOSTILE["a path"], HOSTILE["sql"], HOSTILE["a formula"], HOSTILE["a script"]]
)
def test_g6_hostile_words_are_kept_as_words_and_do_nothing(stage: Stage, text: str) -> None:
    async def scenario() -> None:
        order = batch(buy("KO", limit_price="1"), metadata={"note": text})
        async with stage.engine() as engine:
            await engine.submit(order)
            await engine.cancel(order.batch_id, by=text, reason=text)
            assert (await engine.wait(order.batch_id)).state == "ROLLED_BACK"
            events = await events_of(engine, order)
        assert [e.reason for e in events if e.kind == "cancel_requested"] == [text]  # type: ignore[union-attr]
        assert dict((await _reread(stage, order)).metadata or {}) == {"note": text}

    stage.play(scenario)


async def _reread(stage: Stage, order: Batch) -> Batch:
    async with stage.engine() as engine:
        (first, *_) = await events_of(engine, order)
        kept: Batch = first.batch  # type: ignore[union-attr]
        return kept


@pytest.mark.scenario("G7")
@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"limit_price": "100.0001"}, "must be a multiple of the tick"),
        ({"limit_price": "-1"}, "limit_price"),
        ({"limit_price": "0"}, "limit_price"),
        ({"symbol": "NOSUCH"}, "is not listed"),
    ],
)
def test_g7_a_price_between_ticks_and_what_is_not_listed_are_refused_at_the_door(
    stage: Stage, order: dict[str, str], words: str
) -> None:
    async def scenario() -> None:
        async with stage.engine() as engine:
            with pytest.raises(InvalidInput, match=words):
                await engine.submit(parse_batch(document(**order)))
            assert await engine.store.last_sequence() == 0
        assert await stage.orders() == []

    stage.play(scenario)


@pytest.mark.scenario("G9")
@pytest.mark.parametrize(
    "batch_id",
    [
        "BAT_20261121_093000_aaaaaaaa",
        "../saga.db",
        "%2e%2e/x",
        "a;b",
        "//x",
        "",
        "\x00",
        "x" * 9999,
    ],
)
def test_g9_an_id_that_is_guessed_or_foreign_finds_nothing_and_opens_nothing(
    stage: Stage, batch_id: str
) -> None:
    async def scenario() -> None:
        async with stage.engine() as engine:
            await engine.run(batch(buy("KO")))
            before = await engine.store.last_sequence()
            for call in (engine.batch, engine.trades, engine.wait):
                with pytest.raises(NoSuchBatch):
                    await call(batch_id)
            for act in (engine.cancel, engine.pause, engine.retry):
                with pytest.raises(NoSuchBatch):
                    await act(batch_id, by="mallory", reason="because")
            engine.notify(f"{batch_id}-0F1")
            assert await engine.store.last_sequence() == before

    stage.play(scenario)


@pytest.mark.scenario("G10")
def test_g10_settings_that_anybody_may_change_are_refused(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    settings = home / "saga.toml"
    settings.write_text("[paper]\ncash = 5\n")
    settings.chmod(0o646)
    monkeypatch.delenv("SAGA_CONFIG", raising=False)
    with pytest.raises(InvalidInput, match="chmod o-w"):
        configure(home, None)
    settings.chmod(0o644)
    configure(home, None)


@pytest.mark.scenario("G10")
def test_g10_of_two_settings_files_the_one_that_is_named_is_read_alone(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "saga.toml").write_text("[paper]\ncash = 5\n")
    other = home / "other.toml"
    other.write_text("[paper]\nfee_minimum = 2\n")
    monkeypatch.delenv("SAGA_CONFIG", raising=False)
    paper = configure(home, other).settings.paper
    assert (paper.fee_minimum, paper.cash == Decimal(5)) == (Decimal(2), False)
