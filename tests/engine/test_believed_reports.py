"""What a participant tells is kept in our own types, or not at all: its types are its program."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal

import pytest

from saga.calls import Unusable, believed, told_by
from saga.events import Reported, decode, encode
from saga.ids import Purpose
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


class Later(datetime):
    """A library's own instant."""


def test_an_instant_of_a_librarys_own_is_kept_as_a_plain_one() -> None:
    report = told_at(Later(2026, 1, 1, 2, tzinfo=UTC))
    assert report is not None
    assert type(report.fills[0].at) is datetime
    assert report.fills[0].at == datetime(2026, 1, 1, 2, tzinfo=UTC)


class Rounded(Decimal):
    """A library's own number, which shows less than it is."""

    def __str__(self) -> str:
        return f"{Decimal(self):.2f}"


@pytest.mark.requirement("S11")
def test_the_journal_keeps_the_number_that_is_reckoned_with_however_it_shows_itself() -> None:
    exact = Rounded("0.123456")
    report = believed(Report(True, (Fill("F1", exact, exact, exact),)))
    assert report is not None
    told = Reported(0, Purpose.FORWARD, 1, final=True, fills=report.fills)
    assert decode("reported", encode(told)) == told
    assert report.fills == (Fill("F1", Decimal(exact), Decimal(exact), Decimal(exact)),)
    assert {type(n) for f in report.fills for n in (f.quantity, f.price, f.fee)} == {Decimal}


class Unhashable(str):
    """A text that is compared in its own way."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]


def test_a_text_of_a_librarys_own_is_kept_as_a_plain_one() -> None:
    text = Unhashable("F1")
    report = believed(Report(True, (Fill(text, ONE, ONE),), text, text, (Unhashable("F0"),)))
    assert report == Report(True, (Fill("F1", ONE, ONE),), "F1", "F1", ("F0",))
    texts = (report.fills[0].fill_id, report.reason, report.reference, *report.reversed)
    assert {type(each) for each in texts} == {str}


class Cancelling(Broken):
    """A time zone under which a connection is lost."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        raise asyncio.CancelledError(at)


def test_whatever_is_raised_while_a_report_is_read_makes_it_unusable_and_no_more() -> None:
    with pytest.raises(Unusable, match="the report cannot be read: CancelledError"):
        told_at(datetime(2026, 1, 1, tzinfo=Cancelling()))


def test_a_report_whose_fields_cannot_be_read_tells_nothing() -> None:
    class Lazy(Report):
        @property
        def final(self) -> bool:
            raise LookupError

    told = told_by(object.__new__(Lazy))
    assert isinstance(told, Unusable)
    assert str(told) == "the report cannot be read: LookupError"


def test_who_ends_the_program_while_a_report_is_read_ends_it() -> None:
    class Ending(Broken):
        def utcoffset(self, at: datetime | None) -> timedelta:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        told_at(datetime(2026, 1, 1, tzinfo=Ending()))
