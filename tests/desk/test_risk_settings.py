"""The limits of the gate, as the settings take them: every one, from a file and from a text."""

from decimal import Decimal
from pathlib import Path

import pytest

from brokers.risk import RiskLimits
from desk.settings import RiskPart, configure
from saga.errors import InvalidInput

EVERYTHING = {
    "symbols": '["KO", "PG"]',
    "max_order_quantity": "10.5",
    "max_order_notional": "1000",
    "max_batch_notional": "2000",
    "price_collar": "0.05",
    "max_reference_age_seconds": "2.5",
    "max_orders_per_second": "3",
    "max_wait_seconds": "1",
    "max_orders_per_day": "100",
    "duplicate_window_seconds": "600",
    "max_compensations_per_second": "4",
    "max_compensations_per_day": "200",
}
EXPECTED = RiskLimits(
    symbols=frozenset({"KO", "PG"}),
    max_order_quantity=Decimal("10.5"),
    max_order_notional=Decimal(1000),
    max_batch_notional=Decimal(2000),
    price_collar=Decimal("0.05"),
    max_reference_age_seconds=2.5,
    max_orders_per_second=3,
    max_wait_seconds=1.0,
    max_orders_per_day=100,
    duplicate_window_seconds=600.0,
    max_compensations_per_second=4,
    max_compensations_per_day=200,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for settings, and no setting in the environment."""
    monkeypatch.setenv("SAGA_HOME", str(tmp_path))
    return tmp_path


def limits() -> RiskLimits:
    return configure(None, None).settings.risk.limits()


def test_the_settings_take_exactly_the_limits_that_the_gate_knows() -> None:
    assert issubclass(RiskPart, RiskLimits)
    assert set(EVERYTHING) == set(RiskLimits.model_fields)
    assert RiskPart().limits() == RiskLimits()
    assert type(RiskPart(max_drift_cash=Decimal(1)).limits()) is RiskLimits


@pytest.mark.requirement("S13")
def test_every_limit_can_be_set_in_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in EVERYTHING.items():
        monkeypatch.setenv(f"SAGA_RISK__{name.upper()}", value)
    assert limits() == EXPECTED


@pytest.mark.requirement("S13")
def test_every_limit_can_be_set_in_the_file(folder: Path) -> None:
    lines = [f"{name} = {value}" for name, value in EVERYTHING.items()]
    (folder / "saga.toml").write_text("\n".join(["[risk]", *lines]))
    assert limits() == EXPECTED


@pytest.mark.requirement("S13")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_orders_per_day", "many"),
        ("max_orders_per_day", "0"),
        ("max_orders_per_day", "2.5"),
        ("max_wait_seconds", "5"),
        ("max_wait_seconds", "nan"),
        ("max_order_notional", "1e3"),
        ("max_order_notional", " 12 "),
        ("price_collar", "1.5"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"SAGA_RISK__{name.upper()}", value)
    with pytest.raises(InvalidInput, match=name):
        limits()
