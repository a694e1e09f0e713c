"""The judges judge by the truth: rare turns in which one of them had blamed who was right."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from brokers.orders import Side
from brokers.venue import OrderRequest, OrderStatus
from saga.outcome import Fill
from tests.simulation import judges
from tests.simulation.command import run_seeds
from tests.simulation.evidence import Evidence
from tests.simulation.file import Key, Line, Story, hear
from tests.simulation.model_exchange import ModelOrder

BATCH = "BAT_20261121_093000_231192"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
ONE = {"step": 0, "purpose": "forward", "number": 1}
LATE = {"fills": [{"fill_id": "T5", "quantity": "35", "price": "10", "fee": "0"}], "final": True}


Record = tuple[str, Mapping[str, Any]]


def story_of(*records: Record) -> Story:
    lines = [
        Line(number, number, kind, dict(data))
        for number, (kind, data) in enumerate(records, start=1)
    ]
    story = Story(BATCH, lines, {}, [])
    hear(story)
    return story


def test_what_was_late_for_one_end_is_known_before_the_next() -> None:
    """Seed 24867: STALE, late truth, retried, undone; the venue's books agreed all the time."""
    until_stale: tuple[Record, ...] = (("intended", {**ONE, "amount": "35"}), ("abandoned", {}))
    late = ("late_truth", {**ONE, **LATE})
    key = Key(BATCH, 0, "forward", 1)
    assert story_of(*until_stale, late).attempts[key].late == {"T5"}
    assert story_of(*until_stale, late, ("retried", {})).attempts[key].late == set()
    assert story_of(*until_stale, ("retried", {}), late).attempts[key].late == {"T5"}


def order(key: str, quantity: str, *, busted: bool = False) -> ModelOrder:
    request = OrderRequest(
        f"{BATCH.removeprefix('BAT_')}-0{key}", "IBM", Side.BUY, Decimal(quantity)
    )
    fill = Fill(key, Decimal(quantity), Decimal(10))
    made = ModelOrder(request, key, Decimal(quantity), 0.0, 0.0, after_window=False)
    made.fills, made.status = [fill], OrderStatus.FILLED
    made.busted = {key} if busted else set()
    return made


@pytest.mark.parametrize(("busted", "blamed"), [(True, []), (False, ["S5"])])
def test_an_undo_that_the_venue_took_back_may_be_tried_again(
    busted: bool, blamed: list[str]
) -> None:
    """Seed 23119: an undo was busted, and the next try counted as the second one."""
    orders = [order("F1", "14.5"), order("C1", "14.5", busted=busted), order("C2", "14.5")]
    said: list[str] = []
    evidence = SimpleNamespace(
        exchange=SimpleNamespace(orders={each.key: [each] for each in orders}),
        blame=lambda invariant, _: said.append(invariant),
    )
    judges.s5_compensation_bound(cast(Evidence, evidence), orders[-1])
    assert said == blamed


def test_a_cancellation_that_comes_while_the_engine_leaves_ends_its_process() -> None:
    """Seed 30804: the engine held it back until it had left, and it struck the burial instead."""
    assert run_seeds([30804]).violations == []


def test_a_disk_that_was_to_fail_is_sound_once_faults_have_stopped() -> None:
    """Seed 130594: it failed a minute later, at the first commit behind the doubt of a clock."""
    assert run_seeds([130594]).violations == []
