"""A step does not quietly become dearer: its work is counted, and compared with a record."""

import json
from pathlib import Path

import pytest

from tests.counted_work.counted import Work, count
from tests.counted_work.record import RECORD, unlike_recorded


async def test_a_step_takes_the_work_that_is_recorded(tmp_path: Path) -> None:
    found = await count(tmp_path)
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    assert not unlike_recorded(found, recorded), (
        f"a step takes {found.as_json()}, and {recorded} is recorded; make it cheaper, or, where "
        "it is worth that or has become so, record it anew with `python -m tests.counted_work`"
    )


@pytest.mark.parametrize("figure", ["calls", "statements", "commits", "bytes", "blocks"])
@pytest.mark.parametrize(("still", "no_longer"), [(1.19, 1.21), (0.81, 0.79)])
def test_a_fifth_more_or_less_of_anything_is_too_much(
    figure: str, still: float, no_longer: float
) -> None:
    recorded = {"calls": 100.0, "statements": 10.0, "commits": 0.5, "bytes": 600.0, "blocks": 90.0}
    near = {**recorded, figure: recorded[figure] * still}
    assert not unlike_recorded(Work(**near), recorded)
    far = {**recorded, figure: recorded[figure] * no_longer}
    assert unlike_recorded(Work(**far), recorded) == [figure]


async def test_the_same_work_is_counted_each_time(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    first, second = [await count(folder) for folder in folders]
    assert first.statements == second.statements
    assert first.commits == second.commits
    assert abs(first.calls - second.calls) < first.calls / 100
    assert abs(first.blocks - second.blocks) < first.blocks / 100
