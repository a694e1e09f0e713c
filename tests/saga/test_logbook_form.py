"""The written form of each entry of the logbook: a promise that files of every version rely on.

Unlike the events of a saga, an entry is written in full, defaults included: what a halt meant when
it was ordered does not change with what a later version takes for granted.
"""

import pytest

from saga.logbook import (
    ENTRY_TYPES,
    AlertTold,
    EngineStarted,
    LimitsSet,
    LogEntry,
    TradingState,
    TradingStateSet,
    decode_entry,
    encode_entry,
)

GOLDEN: list[tuple[LogEntry, str]] = [
    (
        EngineStarted(program="trade-saga 0.1.0", epoch=7, pid=4711, host="desk-1", clean=False),
        '{"program":"trade-saga 0.1.0","epoch":7,"pid":4711,"host":"desk-1","clean":false}',
    ),
    (
        TradingStateSet(TradingState.HALTED, by="ann", reason="prices are wrong"),
        '{"state":"HALTED","by":"ann","reason":"prices are wrong","automatic":false}',
    ),
    (
        TradingStateSet(TradingState.REDUCING, by="the books", reason="drift", automatic=True),
        '{"state":"REDUCING","by":"the books","reason":"drift","automatic":true}',
    ),
    (
        LimitsSet(digest="0123456789ab", limits='{"max_order_quantity":"10"}'),
        '{"digest":"0123456789ab","limits":"{\\"max_order_quantity\\":\\"10\\"}"}',
    ),
    (AlertTold(alert_id="stale-BAT_1-7"), '{"alert_id":"stale-BAT_1-7"}'),
]


@pytest.mark.requirement("S11")
@pytest.mark.parametrize(("entry", "text"), GOLDEN, ids=[text for _, text in GOLDEN])
def test_an_entry_is_written_in_full_and_read_back(entry: LogEntry, text: str) -> None:
    assert encode_entry(entry) == text
    assert decode_entry(entry.kind, text) == entry


def test_the_written_form_of_every_kind_of_entry_stands_here() -> None:
    assert {entry.kind for entry, _ in GOLDEN} == ENTRY_TYPES.keys()
