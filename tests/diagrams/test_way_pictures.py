"""One saga's own way: what happened is lit, nothing else is, and hostile text stays inert."""

import re
from datetime import timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest

from saga.diagrams import saga_way_mermaid, saga_way_svg
from saga.diagrams.way import MAX_INCIDENTS_SHOWN, MAX_MOMENTS_SHOWN, MAX_STEPS_SHOWN, way_of
from saga.errors import InvalidInput, NotAllowed
from saga.events import (
    Abandoned,
    AnswerLost,
    CompensationStarted,
    Completed,
    Paused,
    Resolved,
    Resumed,
    Retried,
    RolledBack,
    StepStuck,
    Unpaused,
    Withdrawn,
)
from saga.machine import SAGA_TRANSITIONS
from saga.outcome import Exposure
from saga.store.protocol import JournalRecord
from tests.diagrams.journals import BATCH_ID, FORWARD, UNDO, Journal

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    "]]><script>alert(1)</script>\x00\x1b[31m\u202e\ud800\ufffe\"' --> X : y; %%{init}%%\n&amp;"
)


def completed() -> list[JournalRecord]:
    return Journal("AAPL", "MSFT").start().fill(0).fill(1, "410").add(Completed()).records


def rolled_back() -> list[JournalRecord]:
    journal = Journal("AAPL", "MSFT").start().fill(0)
    journal.intend(1).report(1, reason="halted")
    journal.add(CompensationStarted("buy 100 MSFT refused: halted"))
    journal.intend(0, UNDO).report(0, UNDO, 1, ("100", "150"))
    return journal.add(RolledBack(Decimal(25))).records


def stale() -> Journal:
    journal = Journal("AAPL", "MSFT").start().fill(0)
    journal.intend(1).report(1, reason="halted").add(CompensationStarted("it failed"))
    for number in (1, 2, 3):
        journal.intend(0, UNDO, number).report(0, UNDO, number, reason="no buyers")
    journal.add(StepStuck(0, "3 tries to undo it failed; the last: no buyers"))
    left = Exposure("AAPL", Decimal(100), Decimal(100), Decimal("150.25"))
    return journal.add(Abandoned("buy 100 AAPL could not be undone", (left,)))


def texts(svg: str) -> list[str]:
    root = ET.fromstring(svg)
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def classes(svg: str, prefix: str) -> dict[str, str]:
    """Return lit or dim for every group whose id begins so."""
    return {
        group.attrib["id"].removeprefix(prefix): group.attrib["class"].split()[-1]
        for group in ET.fromstring(svg).iter(f"{SVG}g")
        if group.attrib.get("id", "").startswith(prefix)
    }


def lit(svg: str, prefix: str) -> set[str]:
    return {name for name, tone in classes(svg, prefix).items() if tone == "lit"}


@pytest.mark.requirement("D7")
@pytest.mark.parametrize(
    ("records", "arrows", "states"),
    [
        (Journal("A").records, set(), {"PENDING"}),
        (
            Journal("A").add(Withdrawn("cancelled")).records,
            {"withdraw-PENDING-ROLLED_BACK"},
            {"PENDING", "ROLLED_BACK"},
        ),
        (
            completed(),
            {"start-PENDING-RUNNING", "complete-RUNNING-COMPLETED"},
            {"PENDING", "RUNNING", "COMPLETED"},
        ),
        (
            rolled_back(),
            {
                "start-PENDING-RUNNING",
                "compensate-RUNNING-COMPENSATING",
                "roll_back-COMPENSATING-ROLLED_BACK",
            },
            {"PENDING", "RUNNING", "COMPENSATING", "ROLLED_BACK"},
        ),
        (
            stale().add(Retried("ops", "again")).records,
            {
                "start-PENDING-RUNNING",
                "compensate-RUNNING-COMPENSATING",
                "abandon-COMPENSATING-STALE",
                "retry-STALE-COMPENSATING",
            },
            {"PENDING", "RUNNING", "COMPENSATING", "STALE"},
        ),
    ],
    ids=["submitted", "withdrawn", "completed", "rolled back", "stale and tried again"],
)
def test_the_arrows_and_states_that_happened_are_lit_and_no_other(
    records: list[JournalRecord], arrows: set[str], states: set[str]
) -> None:
    svg = saga_way_svg(records)
    assert lit(svg, "saga-arrow-") == arrows
    assert lit(svg, "saga-state-") == states
    assert set(classes(svg, "saga-arrow-").values()) <= {"lit", "dim"}
    mermaid = saga_way_mermaid(records)
    followed = {
        f"{trigger}-{source}-{dest}"
        for source, dest, trigger in re.findall(
            r"^    (\w+) --> (\w+) : (\w+) = no", mermaid, re.MULTILINE
        )
    }
    assert followed == arrows
    assert mermaid.count("(not followed)") == len(SAGA_TRANSITIONS) - len(arrows)


@pytest.mark.requirement("D7")
def test_a_lit_arrow_bears_its_number_and_its_time() -> None:
    shown = texts(saga_way_svg(rolled_back()))
    assert "✓ 1 09:30:00.250 UTC" in shown
    assert "✓ 2 09:30:01.500 UTC" in shown
    assert "✓ 3 09:30:02.250 UTC" in shown
    assert "roll_back = no. 3 at 09.30.02.250 UTC" in saga_way_mermaid(rolled_back())


@pytest.mark.requirement("D7")
def test_a_step_shows_what_was_asked_filled_and_undone_and_its_states_in_order() -> None:
    svg = saga_way_svg(rolled_back())
    row = step_texts(svg, 0)
    assert row[:6] == ["1", "AAPL", "buy 100 AAPL", "100", "100 @ 150.25", "100 @ 150"]
    states = [text for text in row[6:] if not re.fullmatch(r"[\d:.]+", text)]
    assert states == ["SENDING", "✓ DONE", "← COMPENSATING", "✓ COMPENSATED"]
    assert row.index("09:30:00.500") < row.index("09:30:00.750") < row.index("09:30:02.000")


def step_texts(svg: str, position: int) -> list[str]:
    groups = ET.fromstring(svg).iter(f"{SVG}g")
    group = next(g for g in groups if g.attrib.get("id") == f"way-step-{position}")
    return ["".join(element.itertext()) for element in group.iter(f"{SVG}text")]


def test_partial_fills_at_several_prices_are_shown_with_their_average() -> None:
    journal = Journal("AAPL").start().intend(0)
    journal.report(0, FORWARD, 1, ("50", "10"), final=False)
    journal.report(0, FORWARD, 1, ("50", "10.001"))
    row = step_texts(saga_way_svg(journal.records), 0)
    assert "100 @ avg 10.0005" in row
    assert "WORKING" in row


@pytest.mark.requirement("D7")
def test_a_time_without_knowledge_is_shown_with_its_length() -> None:
    journal = Journal("AAPL").start().intend(0)
    journal.add(AnswerLost(0, FORWARD, 1, "timeout"), seconds=95)
    journal.report(0, FORWARD, 1, ("100", "10"))
    assert "? UNKNOWN for 1 min 35 s" in step_texts(saga_way_svg(journal.records), 0)


def test_a_send_that_a_crash_interrupted_is_unknown_from_the_resume_on() -> None:
    journal = Journal("AAPL").start().intend(0).add(Resumed("trade-saga 0.1.0"))
    svg = saga_way_svg(journal.records)
    assert "? UNKNOWN" in step_texts(svg, 0)
    assert "resumed by trade-saga 0.1.0" in texts(svg)


def test_an_undo_that_a_crash_interrupted_is_unknown_from_the_resume_on() -> None:
    journal = Journal("AAPL", "MSFT").start().fill(0).intend(1).report(1, reason="halted")
    journal.add(CompensationStarted("it failed")).intend(0, UNDO).add(Resumed("p"))
    assert "? undo unknown" in step_texts(saga_way_svg(journal.records), 0)


@pytest.mark.requirement("D7")
def test_every_try_to_undo_is_shown() -> None:
    row = step_texts(saga_way_svg(stale().records), 0)
    words = [text for text in row[6:] if not re.fullmatch(r"[\d:.]+", text)]
    assert words == [
        "SENDING",
        "✓ DONE",
        "← COMPENSATING",
        "✗ undo refused",
        "← undo, try 2",
        "✗ undo refused",
        "← undo, try 3",
        "✗ undo refused",
        "✗ STUCK",
        "3 tries to undo it failed; the last: no buyers",
    ]


@pytest.mark.requirement("D7")
def test_the_end_tells_state_reason_cost_and_what_is_left() -> None:
    shown = texts(saga_way_svg(stale().records))
    assert "buy 100 AAPL could not be undone" in shown
    assert "Left behind: residual exposure" in shown
    place = shown.index("last price")
    assert shown[place + 3 : place + 7] == ["AAPL", "+100", "150.25", "15025"]
    shown = texts(saga_way_svg(rolled_back()))
    assert shown[shown.index("undo cost") + 1] == "25"
    assert shown[shown.index("left behind") + 1] == "nothing"


def test_an_exposure_that_is_not_proven_is_shown_as_an_interval() -> None:
    journal = stale()
    left = Exposure("AAPL", Decimal(0), Decimal(60), Decimal("2.5"), ("k1", "k2"))
    journal.add(Retried("ops", "again"))
    journal.add(Abandoned("not to be known", (left,)))
    shown = texts(saga_way_svg(journal.records))
    assert "0 to +60" in shown
    assert "0 to 150" in shown
    assert "2 orders not proven" in shown


def test_a_saga_that_was_resolved_says_by_whom_and_what_was_left() -> None:
    journal = stale().add(Resolved("ops", "sold by hand", "sold 100 AAPL", "ticket 7"))
    svg = saga_way_svg(journal.records)
    assert "resolve-STALE-ROLLED_BACK" in lit(svg, "saga-arrow-")
    assert "resolved by ops: sold by hand; sold 100 AAPL (ticket 7)" in texts(svg)
    assert "Left behind, and dealt with by hand" in texts(svg)


@pytest.mark.requirement("D7")
@pytest.mark.parametrize("count", [1, 2, 20, MAX_STEPS_SHOWN, MAX_STEPS_SHOWN + 1, 500])
def test_a_batch_of_any_length_is_drawn_up_to_the_bound(count: int) -> None:
    journal = Journal(*(f"S{place}" for place in range(count))).start()
    for place in range(count):
        journal.fill(place)
    svg = saga_way_svg(journal.records)
    rows = len(re.findall(r'id="way-step-\d+"', svg))
    assert rows == min(count, MAX_STEPS_SHOWN)
    hidden = count - rows
    more = f"and {hidden} more step{'s' if hidden != 1 else ''}, not drawn"
    assert (more in texts(svg)) == (hidden > 0)
    assert ("more steps" in saga_way_mermaid(journal.records)) == (hidden > 0)


def tried_again(rounds: int) -> Journal:
    journal = stale()
    for round_ in range(rounds):
        journal.add(Retried("ops", "again")).intend(0, UNDO, round_ + 4)
        journal.report(0, UNDO, round_ + 4, reason="no buyers").add(StepStuck(0, "no buyers"))
        journal.add(Abandoned("left", ()))
    return journal


def test_a_step_tried_again_and_again_shows_its_beginning_and_its_end() -> None:
    journal = tried_again(30)
    way = way_of(journal.records)
    svg = saga_way_svg(journal.records)
    row = step_texts(svg, 0)
    hidden = len(way.steps[0].moments) - MAX_MOMENTS_SHOWN
    assert hidden > 0
    assert f"{hidden} more" in row
    assert row[-3] == "✗ STUCK"
    assert f"and {30 - MAX_INCIDENTS_SHOWN} more" in texts(svg)
    assert [text for text in texts(svg) if text.startswith("+29, ✓ 63 ")]


@pytest.mark.requirement("D7")
def test_hostile_text_is_shown_as_text_and_does_nothing() -> None:
    def journal(symbol: str, text: str) -> list[JournalRecord]:
        made = Journal(symbol, "MSFT", by=text).start().fill(0)
        made.add(Paused(text, text), Unpaused(text, text), Resumed(text))
        made.intend(1).report(1, reason=text).add(CompensationStarted(text))
        made.intend(0, UNDO).report(0, UNDO, 1, reason=text).add(StepStuck(0, text))
        left = Exposure(symbol, Decimal(100), Decimal(100), None, (text,))
        return made.add(Abandoned(text, (left,))).records

    harmless, hostile = journal("AAPL", "calm"), journal(HOSTILE, HOSTILE * 50)
    svg = saga_way_svg(hostile)
    root = ET.fromstring(svg.encode())
    assert [element.tag for element in root.iter()] == [
        element.tag for element in ET.fromstring(saga_way_svg(harmless)).iter()
    ]
    assert all(c == "\n" or c.isprintable() for c in svg)
    assert "\u202e" not in svg
    mermaid = saga_way_mermaid(hostile)
    calm = saga_way_mermaid(harmless)
    assert len(mermaid.splitlines()) == len(calm.splitlines())
    assert mermaid.count("-->") == calm.count("-->")
    assert mermaid.isascii()
    assert not any(sign in mermaid for sign in ("%%", ";", "<", "&", "\x1b"))


def longest() -> Journal:
    journal = Journal("W" * 5000, "漢" * 500, by="M" * 5000).start()
    journal.intend(0).report(0, FORWARD, 1, ("100", "1" * 28), reason="W" * 5000)
    journal.intend(1).report(1, FORWARD, 1, reason="漢" * 5000)
    return journal


@pytest.mark.parametrize("journal", [longest(), tried_again(30)], ids=["long texts", "many tries"])
def test_nothing_is_drawn_outside_the_picture(journal: Journal) -> None:
    svg = saga_way_svg(journal.records)
    root = ET.fromstring(svg)
    wide, high = (float(side) for side in root.attrib["viewBox"].split()[2:])
    for rect in root.iter(f"{SVG}rect"):
        if rect.attrib["width"] == "100%":
            continue
        x, y = float(rect.attrib["x"]), float(rect.attrib["y"])
        assert 0 <= x <= x + float(rect.attrib["width"]) <= wide
        assert 0 <= y <= y + float(rect.attrib["height"]) <= high
    assert max(len(text) for text in texts(svg)) < 250


def test_the_same_journal_gives_the_same_bytes() -> None:
    assert saga_way_svg(rolled_back()) == saga_way_svg(rolled_back())
    assert saga_way_mermaid(rolled_back()) == saga_way_mermaid(rolled_back())


def test_another_day_is_named_where_it_begins() -> None:
    journal = Journal("AAPL").start()
    journal.now += timedelta(days=1)
    journal.fill(0)
    row = step_texts(saga_way_svg(journal.records), 0)
    assert "11-22 09:30:00.500" in row
    journal.add(Completed())
    assert "✓ 2 11-22 09:30:01.000" in texts(saga_way_svg(journal.records))


@pytest.mark.parametrize("records", [[], completed()[1:]], ids=["none", "no submission"])
def test_what_is_no_whole_journal_is_refused(records: list[JournalRecord]) -> None:
    with pytest.raises(InvalidInput, match="hand in the whole journal"):
        saga_way_svg(records)
    with pytest.raises(InvalidInput, match="hand in the whole journal"):
        saga_way_mermaid(records)


def test_a_journal_that_breaks_the_machine_is_refused() -> None:
    records = completed()
    with pytest.raises(NotAllowed):
        saga_way_svg([*records[:3], *records[4:]])


def test_the_picture_is_named_after_its_batch() -> None:
    root = ET.fromstring(saga_way_svg(completed()))
    assert root.findtext(f"{SVG}title") == f"The way of {BATCH_ID}"
