"""Settings: from the command line, the environment, a TOML file, or the defaults; in that order.

A key that is not known is refused, wherever it stands: a misspelt bound is no bound. Secrets have
no place here as yet; the paper exchange needs none.
"""

import os
import pwd
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from brokers.risk import RiskLimits
from desk.home import PORTFOLIO, Home
from saga.amounts import NonNegativeAmount, PositiveAmount
from saga.errors import InvalidInput
from saga.limits import Limits
from saga.wording import explain, shown

if TYPE_CHECKING:  # the kill switch reads settings too, and cannot wait until these are loaded
    from brokers.paper import PaperSettings
    from portfolio import Allowance
    from portfolio.drift import DriftBounds

ENV_PREFIX: Final = "SAGA_"
HOME_VARIABLE: Final = "SAGA_HOME"
CONFIG_VARIABLE: Final = "SAGA_CONFIG"
_NOT_SETTINGS: Final = frozenset({HOME_VARIABLE, CONFIG_VARIABLE})
MAX_SETTINGS_BYTES: Final = 1_000_000
"""Most bytes of a settings file."""

_Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
"""Not strict, unlike the engine's: the environment knows nothing but texts."""
_BasisPoints = Annotated[NonNegativeAmount, Field(lt=10_000)]
_NO_NUMBER: Final = frozenset({"int_type", "float_type"})
"""What pydantic says of a text where it wants a number."""


class PaperPart(BaseModel):
    """How the paper exchange is made, the first time; its books then keep it.

    Attributes:
        cash: the first deposit, in US dollars.
        day: its first trading day.
        slippage_basis_points: how much worse than the close a market order fills.
        fee_per_unit: of each execution, per share or contract, in US dollars.
        fee_minimum: least fee of one execution, in US dollars.
        latency_seconds: how long each call takes, so that people can watch.
        poll_seconds: how often an open order is looked up.
        liquidity: most that one order fills in a day; left out is no bound.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cash: PositiveAmount = Decimal(1_000_000)
    day: date = date(2022, 12, 1)
    slippage_basis_points: _BasisPoints = Decimal(2)
    fee_per_unit: NonNegativeAmount = Decimal("0.005")
    fee_minimum: NonNegativeAmount = Decimal(1)
    latency_seconds: _Seconds = 0.0
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    liquidity: PositiveAmount | None = None

    def exchange(self) -> "PaperSettings":
        """Return the settings of the exchange that is made of these."""
        from brokers.paper import EXAMPLE_OPTIONS, PaperSettings

        return PaperSettings(
            slippage_basis_points=self.slippage_basis_points,
            fee_per_unit=self.fee_per_unit,
            fee_minimum=self.fee_minimum,
            latency_seconds=self.latency_seconds,
            poll_seconds=self.poll_seconds,
            liquidity=self.liquidity,
            listed=dict(EXAMPLE_OPTIONS),
        )


class ReservePart(BaseModel):
    """How much worse than the last price things may get: for reservations and for the plan.

    Attributes:
        price_basis_points: how much worse a market order may fill than the price that was seen.
        undo_basis_points: how much worse the undo of a leg may fill.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    price_basis_points: _BasisPoints = Decimal(50)
    undo_basis_points: _BasisPoints = Decimal(100)


class EnginePart(BaseModel):
    """The engine's bounds (`saga.limits.Limits`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_directives: Annotated[int, Field(ge=1, le=100_000)] = Limits().max_directives
    max_running: Annotated[int, Field(ge=1, le=100_000)] = Limits().max_running
    max_queued: Annotated[int, Field(ge=1, le=1_000_000)] = Limits().max_queued
    grace_seconds: _Seconds = Limits().grace_seconds
    max_crashes_per_minute: Annotated[int, Field(ge=1, le=1_000)] | None = (
        Limits().max_crashes_per_minute
    )

    def limits(self) -> Limits:
        """Return them as the engine takes them."""
        return Limits(**self.model_dump())


class RiskPart(RiskLimits):
    """The limits of the account, and how far its books may drift; none is on unless it is set.

    Attributes:
        max_drift_quantity: how far books and broker may differ in a symbol before trading is
            REDUCING.
        max_drift_cash: the same for cash, in US dollars.
    """

    max_drift_quantity: NonNegativeAmount | None = None
    max_drift_cash: NonNegativeAmount | None = None

    @field_validator("*", mode="wrap")
    @classmethod
    def _number_in_a_text(cls, value: object, check: ValidatorFunctionWrapHandler) -> object:
        """The gate's numbers are strict, and the environment knows nothing but texts."""
        try:
            return check(value)
        except ValidationError as error:
            if isinstance(value, str) and error.errors()[0]["type"] in _NO_NUMBER:
                for number in (int, float):
                    with suppress(ValueError):
                        return check(number(value))
            raise

    def limits(self) -> RiskLimits:
        """Return them as the gate takes them."""
        return RiskLimits(**self.model_dump(include=set(RiskLimits.model_fields)))

    def drift(self) -> "DriftBounds | None":
        """Return how far books and broker may differ; None if nobody watches that."""
        if self.max_drift_quantity is self.max_drift_cash is None:
            return None
        from portfolio.drift import DriftBounds

        return DriftBounds(self.max_drift_quantity, self.max_drift_cash)


class Settings(BaseSettings):
    """Everything that can be set.

    Attributes:
        portfolio: the portfolio that trades where no other is named.
        operator: who is written down as the one who acted; the login name by default.
        paper: the paper exchange.
        reserve: how much worse things may get.
        engine: the engine's bounds.
        risk: the limits that every order has to keep.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    portfolio: Annotated[str, Field(min_length=1, max_length=64)] = PORTFOLIO
    operator: Annotated[str, Field(min_length=1, max_length=64)] = "operator"
    paper: PaperPart = PaperPart()
    reserve: ReservePart = ReservePart()
    engine: EnginePart = EnginePart()
    risk: RiskPart = RiskPart()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before what was read from the file, which is handed in."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    def allowance(self, exchange: "PaperSettings") -> "Allowance":
        """Return how much worse than planned prices and fees may be, at this exchange."""
        from portfolio import Allowance

        return Allowance(
            price_basis_points=self.reserve.price_basis_points,
            undo_basis_points=self.reserve.undo_basis_points,
            fee_per_unit=exchange.fee_per_unit,
            fee_per_order=exchange.fee_minimum,
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting: its dotted name, its value, and where that came from."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Configured:
    """The settings of one desk.

    Attributes:
        home: its folder.
        settings: what holds.
        origins: where each value came from.
        fault: why the settings that were given cannot be used, so that these are the defaults; None
            if they are used. Nobody may become the store's owner with it: its limits are unknown.
    """

    home: Home
    settings: Settings
    origins: tuple[Origin, ...]
    fault: str | None = None


def configure(home: Path | None, config: Path | None) -> Configured:
    """Return the settings that hold, and where each came from.

    Args:
        home: `--home`; None if it was not given.
        config: `--config`; None if it was not given.

    Raises:
        InvalidInput: a key is unknown or a value breaks a rule; the sentence says where.
    """
    environment = os.environ
    folder, folder_source = _found_folder(home, environment)
    path, named = _file(config, environment, folder)
    in_file = _read_toml(path, named=named)
    _refuse_unknown_variables(environment)
    values = {"operator": _login(environment)[0], **in_file}
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise InvalidInput(
            f"settings ({_where(error, environment, path)}): {explain(error)}"
        ) from None
    if settings.portfolio != PORTFOLIO:  # which needs no check, and so nothing to check with
        from portfolio.naming import checked_name

        checked_name(settings.portfolio)
    origins = (
        Origin("home", str(folder), folder_source),
        *_origins(settings, in_file, environment, path),
    )
    return Configured(Home(folder), settings, origins)


def configure_anyhow(home: Path | None, config: Path | None) -> Configured:
    """Return the settings that hold, or the defaults with the fault: for what must work without.

    Raises:
        InvalidInput: the folder is none.
    """
    try:
        return configure(home, config)
    except InvalidInput as error:
        folder, source = _found_folder(home, os.environ)
        # Not even the environment is read again: it may be what is wrong.
        settings = Settings.model_construct(operator=_login(os.environ)[0])
        origins = (Origin("home", str(folder), source),)
        return Configured(Home(folder), settings, origins, fault=str(error))


def _found_folder(home: Path | None, environment: Mapping[str, str]) -> tuple[Path, str]:
    folder, source = _folder(home, environment)
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"home {folder} ({source}) is no folder; name another one")
    return folder, source


def default_folder(arguments: Sequence[str]) -> Path:
    """Return the desk's folder as far as can be told when everything else failed."""
    home: Path | None = None
    for place, argument in enumerate(arguments):
        if argument.startswith("--home="):
            home = Path(argument.removeprefix("--home="))
        elif argument == "--home" and place + 1 < len(arguments):
            home = Path(arguments[place + 1])
    return _folder(home, os.environ)[0]


def _folder(home: Path | None, environment: Mapping[str, str]) -> tuple[Path, str]:
    if home is not None:
        return home.expanduser().absolute(), "--home"
    if environment.get(HOME_VARIABLE):
        return Path(environment[HOME_VARIABLE]).expanduser().absolute(), HOME_VARIABLE
    data = environment.get("XDG_DATA_HOME")
    base = Path(data) if data else Path("~/.local/share").expanduser()
    return base.absolute() / "trade-saga", "XDG_DATA_HOME" if data else "default"


def _file(config: Path | None, environment: Mapping[str, str], folder: Path) -> tuple[Path, bool]:
    """Return the settings file, and whether somebody named it (so that it must be there)."""
    if config is not None:
        return config.expanduser().absolute(), True
    if environment.get(CONFIG_VARIABLE):
        return Path(environment[CONFIG_VARIABLE]).expanduser().absolute(), True
    return Home(folder).settings, False


def _read_toml(path: Path, *, named: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            anybody_may_write = os.fstat(file.fileno()).st_mode & stat.S_IWOTH
            content = file.read(MAX_SETTINGS_BYTES + 1)
    except FileNotFoundError:
        if not named:
            return {}
        raise InvalidInput(f"settings file {path} is not there; name another, or none") from None
    except OSError as error:
        raise InvalidInput(f"settings file {path} cannot be read: {error.strerror}") from None
    if anybody_may_write:  # limits that anybody can change are none
        raise InvalidInput(
            f"settings file {path} may be written by anybody on this machine, and it holds your "
            f"limits; take that away with `chmod o-w {path}`"
        )
    if len(content) > MAX_SETTINGS_BYTES:
        raise InvalidInput(
            f"settings file {path} must have at most {MAX_SETTINGS_BYTES} bytes; is it the right "
            "file?"
        )
    try:
        # Numbers with a point are read as decimals: money is never a float.
        return tomllib.loads(content.decode("utf-8"), parse_float=_number)
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"settings file {path} is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"settings file {path} is no TOML: {error}; correct it") from None


class _Number(str):
    """A number of the file as its text; each field makes of it what it needs, exactly."""


def _number(text: str) -> str:
    return _Number(text)


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = {ENV_PREFIX + name.replace(".", "__").upper() for name, _ in _leaves(Settings)}
    known |= {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    for variable in sorted(environment):
        if not variable.upper().startswith(ENV_PREFIX) or variable in _NOT_SETTINGS:
            continue
        if variable.upper() not in known:
            raise InvalidInput(
                f"environment variable {variable} is not a known setting; check its spelling "
                "(`saga config show` lists them), or unset it"
            )


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, name


def _where(error: ValidationError, environment: Mapping[str, str], path: Path) -> str:
    location = ".".join(str(part) for part in error.errors()[0]["loc"])
    variable = ENV_PREFIX + location.replace(".", "__").upper()
    names = {name.upper(): name for name in environment}
    return names.get(variable) or str(path)


def _origins(
    settings: Settings, in_file: Mapping[str, Any], environment: Mapping[str, str], path: Path
) -> Iterator[Origin]:
    upper = {name.upper(): name for name in environment}
    for name, _ in _leaves(Settings):
        value: object = settings
        in_toml: object = in_file
        for part in name.split("."):
            value = getattr(value, part)
            in_toml = in_toml.get(part) if isinstance(in_toml, Mapping) else None
        variable = ENV_PREFIX + name.replace(".", "__").upper()
        whole = ENV_PREFIX + name.partition(".")[0].upper()
        if variable in upper:
            source = upper[variable]
        elif whole in upper:
            source = upper[whole]
        elif in_toml is not None:
            source = str(path)
        elif name == "operator":
            source = _login(environment)[1]
        else:
            source = "default"
        yield Origin(name, _as_text(value), source)


def _as_text(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(str, value)))
    return "" if value is None else str(value)


def _login(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return who runs this process, and where that is known from."""
    for variable in ("USER", "LOGNAME"):
        if environment.get(variable):
            return _short(environment[variable]), f"login name, from {variable}"
    uid = os.getuid()
    try:
        return _short(pwd.getpwuid(uid).pw_name), f"login name of user id {uid}"
    except KeyError:
        return f"uid {uid}", "user id, which has no login name"


def _short(name: str) -> str:
    return name if len(name) <= 64 else shown(name[:60])
