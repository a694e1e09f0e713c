"""A fill's instant, whose time zone is somebody else's program: kept as ours, or no instant."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal

import pytest

from saga.calls import Unusable, believed
from saga.outcome import Fill, Report

ONE = Decimal(1)


class Broken(tzinfo):
    """A time zone that cannot say what it is."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        raise LookupError(at)

    def dst(self, at: datetime | None) -> timedelta:
        raise LookupError(at)

    def tzname(self, at: datetime | None) -> str:
        raise LookupError(at)


def told_at(at: object) -> Report | None:
    return believed(Report(True, (Fill("F1", ONE, ONE, at=at),)))  # type: ignore[arg-type]


@pytest.mark.parametrize("at", [datetime(2026, 1, 1, tzinfo=Broken()), datetime(2026, 1, 1), "now"])  # noqa: DTZ001
def test_what_is_no_instant_makes_an_answer_unusable_and_no_more(at: object) -> None:
    with pytest.raises(Unusable, match="of fill F1 is no instant with a time zone"):
        told_at(at)


def test_an_instant_is_kept_in_utc() -> None:
    east = timezone(timedelta(hours=2))
    report = told_at(datetime(2026, 1, 1, 2, tzinfo=east))
    assert report is not None
    assert report.fills[0].at == datetime(2026, 1, 1, tzinfo=UTC)
    assert report.fills[0].at.tzinfo is UTC
