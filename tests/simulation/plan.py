"""What a seed holds: its venue, faults, batches, crashes and operators. All of it is data.

Every element has a name, and can be left out by that name without any other being drawn anew: that
is how a failing seed is shrunk. Nothing here runs anything.
"""

from collections.abc import Set
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random
from typing import Any, Final

from brokers.venue import BrokerCapabilities, Idempotency
from tests.simulation.streams import Streams, chance, one_of

SYMBOLS: Final = ("AAPL", "CSCO", "IBM", "MSFT", "XOM")
PORTFOLIOS: Final = ("one", "two")

BEHAVIOURS: Final = tuple(f"B{number}" for number in range(1, 19))
"""The venue's behaviours of the fault model; `model_exchange` says what each one is."""
STRENGTHS: Final = (0.05, 0.15, 0.4)

PHASES: Final = ("any", "start", "run", "leave")
POINTS: Final = (
    *("commit.before", "commit.inside", "commit.behind"),
    *("send.before", "send.sent", "send.replied"),
    *("cancel.sent", "find.sent", "find.replied"),
)


@dataclass(frozen=True, slots=True)
class Leg:
    """One trade of a batch; `fields` are those of the directive."""

    name: str
    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """One batch and the client who hands it in.

    Attributes:
        at: when it is handed in, in virtual seconds.
        again: so many clients more hand the same batch in at the same time.
        other_body: somebody hands another batch in under the same id.
        patient: the client asks again until it gets an answer.
        watches: the client waits for the end and looks at it.
    """

    name: str
    number: int
    at: float
    legs: tuple[Leg, ...]
    fields: dict[str, Any]
    policy: dict[str, Any]
    again: int
    other_body: bool
    patient: bool
    watches: bool


@dataclass(frozen=True, slots=True)
class Crash:
    """The end of a process: at an instant, or at the nth time that it comes to a point.

    Attributes:
        loss: L1 an exception, L2 the process is gone, L3 the power is gone.
        at: the instant, in virtual seconds; None where a point is named.
        downtime: how long nobody runs afterwards.
    """

    name: str
    loss: str
    downtime: float
    at: float | None = None
    phase: str = "any"
    point: str = ""
    nth: int = 1


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that an operator, or the world, does at an instant."""

    name: str
    at: float
    what: str
    batch: int = 0
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One seed.

    Attributes:
        strength: how often each behaviour of the venue strikes; those left out never do.
        quiet_at: when faults stop.
        late: calls may arrive after the visibility window that the venue declares.
        pace: an order that nothing strikes trades within so many seconds; at a slow venue it rests,
            and cancels and deadlines meet it open.
    """

    seed: int
    venue: BrokerCapabilities
    strength: dict[str, float]
    late: bool
    latency: float
    pace: float
    slow_commit: float
    batches: tuple[PlannedBatch, ...]
    crashes: tuple[Crash, ...]
    deeds: tuple[Deed, ...]
    quiet_at: float
    max_running: int
    without: Set[str] = field(default_factory=frozenset)

    @property
    def jumps(self) -> bool:
        """The wall clock jumps in this seed."""
        return any(deed.what == "clock" for deed in self.deeds)

    def elements(self) -> tuple[str, ...]:
        """Return the names of all that can be left out, the largest first."""
        names = [each.name for each in self.batches]
        names += [leg.name for each in self.batches if len(each.legs) > 1 for leg in each.legs]
        names += [each.name for each in self.crashes]
        names += [each.name for each in self.deeds]
        names += [*self.strength]
        names += [
            name
            for name, there in (
                ("late", self.late),
                ("slow commit", self.slow_commit),
                ("extra clients", any(each.again or each.other_body for each in self.batches)),
            )
            if there
        ]
        return tuple(names)


def draw(seed: int, streams: Streams, without: Set[str] = frozenset()) -> Plan:
    """Return the plan of a seed, less the elements that are named."""
    faults, work = streams.faults, streams.workload
    calm = chance(faults, 0.06)
    strength = _strengths(faults, calm=calm)
    late = chance(faults, 0.08) and not calm
    venue = _venue(faults, late=late, strength=strength)
    safety = 4.0 + faults.random() * 30.0
    latency = one_of(faults, (0.002, 0.02, 0.2))
    slow_commit = one_of(faults, (0.0, 0.0, 0.0, 0.05, 3.0)) if not calm else 0.0
    crashes = () if calm else _crashes(faults, safety)
    batches = _batches(work, safety)
    deeds = _deeds(work, len(batches), safety)
    if not calm:
        deeds += _accidents(faults, safety)
    max_running = one_of(work, (1_000, 1_000, 2))
    pace = one_of(faults, (*((0.3,) * 6), 8.0, 40.0))
    plan = Plan(
        seed=seed,
        venue=venue,
        strength=strength,
        late=late,
        latency=latency,
        pace=pace,
        slow_commit=slow_commit,
        batches=batches,
        crashes=crashes,
        deeds=deeds,
        quiet_at=safety,
        max_running=max_running,
    )
    return _less(plan, without)


def _less(plan: Plan, without: Set[str]) -> Plan:
    if not without:
        return plan
    batches = []
    for each in plan.batches:
        if each.name in without:
            continue
        if "extra clients" in without:
            each = replace(each, again=0, other_body=False)
        legs = tuple(leg for leg in each.legs if leg.name not in without)
        if legs:
            batches.append(replace(each, legs=legs))
    return replace(
        plan,
        batches=tuple(batches),
        crashes=tuple(each for each in plan.crashes if each.name not in without),
        deeds=tuple(each for each in plan.deeds if each.name not in without),
        strength={name: p for name, p in plan.strength.items() if name not in without},
        late=plan.late and "late" not in without,
        slow_commit=0.0 if "slow commit" in without else plan.slow_commit,
        without=without,
    )


def _strengths(faults: Random, *, calm: bool) -> dict[str, float]:
    strength = {}
    for name in BEHAVIOURS:
        exists, strong = chance(faults, 0.3), one_of(faults, STRENGTHS)
        if exists and not calm:
            strength[name] = strong
    return strength


def _venue(faults: Random, *, late: bool, strength: dict[str, float]) -> BrokerCapabilities:
    """Draw what the venue can do. What it declares is true of it, but for how late is `late`."""
    kept = one_of(
        faults,
        (*((Idempotency.NONE,) * 5), Idempotency.OPEN_ONLY, Idempotency.FOREVER),
    )
    if late:
        kept = Idempotency.FOREVER  # nothing but the venue could keep a second order out
    elif "B13" in strength:
        kept = Idempotency.OPEN_ONLY
    cancels, buries = not chance(faults, 0.07), chance(faults, 0.2)
    return BrokerCapabilities(
        look_up=not chance(faults, 0.05),
        cancel=cancels,
        idempotent=kept,
        tombstone=cancels and buries,
        visibility_seconds=one_of(faults, (0.5, 2.0, 5.0)),
        call_timeout_seconds=one_of(faults, (1.0, 3.0, 10.0)),
        poll_seconds=one_of(faults, (0.5, 1.0, 2.0)),
        cancels_on_disconnect=chance(faults, 0.5),
        short_selling=True,
    )


def _crashes(faults: Random, safety: float) -> tuple[Crash, ...]:
    count = one_of(faults, (0, 0, 1, 1, 1, 2, 2, 3))
    found = []
    for number in range(count):
        loss = one_of(faults, ("L1", "L2", "L2", "L3"))
        downtime = one_of(faults, (0.01, 0.01, 0.5, 3.0, 20.0))
        timed = chance(faults, 0.3)
        at = faults.random() * safety
        phase = one_of(faults, ("any", "any", "run", "start", "leave"))
        point = one_of(faults, POINTS)
        nth = 1 + int(faults.random() ** 2 * (20 if phase in ("any", "run") else 3))
        if phase in ("start", "leave"):
            point = one_of(faults, POINTS[:3])
        if point == "cancel.sent":
            nth = 1  # there are few
        name = f"crash {number}"
        if timed:
            found.append(Crash(name, loss, downtime, at=at))
        else:
            found.append(Crash(name, loss, downtime, phase=phase, point=point, nth=nth))
    return tuple(found)


def _accidents(faults: Random, safety: float) -> tuple[Deed, ...]:
    """Draw what happens to the world: clocks, owners, the disk, other people's trades."""
    found: list[Deed] = []
    for what, probability, amounts in (
        ("clock", 0.15, (86_400.0, -86_400.0, 40.0, -40.0)),
        ("clock", 0.1, (86_400.0, -86_400.0, 40.0, -40.0)),
        ("take over", 0.15, (0.0, 0.0, 5.0, 90.0)),
        ("leave", 0.15, (0.01, 2.0)),
        ("busy", 0.12, (1.0, 2.0, 5.0)),
        ("poison before", 0.06, (1.0,)),
        ("poison behind", 0.06, (1.0,)),
        ("external trade", 0.1, (5.0, -5.0)),
    ):
        happens, at = chance(faults, probability), faults.random() * safety
        amount = one_of(faults, amounts)
        if happens:
            found.append(Deed(f"{what} {len(found)}", at, what, amount=amount))
    return tuple(found)


def _deeds(work: Random, batches: int, safety: float) -> tuple[Deed, ...]:
    """Draw what operators do."""
    count = one_of(work, (0, 0, 1, 1, 2, 3))
    kinds = (
        "cancel",
        "cancel",
        "cancel twice",
        "pause",
        "retry",
        "resolve",
        "notify",
        "again",
        "halt",
    )
    return tuple(
        Deed(
            f"operator {number}",
            work.random() * safety,
            one_of(work, kinds),
            batch=int(work.random() * batches),
            amount=0.5 + work.random() * 10,
        )
        for number in range(count)
    )


def _batches(work: Random, safety: float) -> tuple[PlannedBatch, ...]:
    count = one_of(work, (1, 2, 2, 3))
    return tuple(_batch(work, number, safety) for number in range(count))


def _batch(work: Random, number: int, safety: float) -> PlannedBatch:
    name = f"batch {number}"
    mode = one_of(work, ("ATOMIC", "ATOMIC", "ATOMIC", "SEQUENTIAL", "PARALLEL"))
    transfers = chance(work, 0.1)
    portfolio = one_of(work, (*PORTFOLIOS, *PORTFOLIOS, "", ""))
    key = f"portfolio:{portfolio}" if portfolio else one_of(work, (None, None, "desk"))
    count = 1 if transfers else one_of(work, (1, 2, 2, 3, 3, 4))
    legs = tuple(_leg(work, f"{name} leg {leg}", leg, transfers=transfers) for leg in range(count))
    width = one_of(work, (None, None, 1, 2, 4))
    fields: dict[str, Any] = {
        "execution_mode": mode,
        "timeout_seconds": one_of(work, (None, None, None, 3.0, 15.0, 40.0)),
        "priority": one_of(work, ("HIGH", "NORMAL", "LOW")),
        "max_parallel": None if mode == "SEQUENTIAL" else width,
        "exclusion_key": None if transfers else key,
    }
    on_failure = one_of(work, (None, None, None, "undo", "keep", "complete_forward"))
    rolls_back = mode == "ATOMIC" or chance(work, 0.4)
    if mode == "ATOMIC" and on_failure == "keep":
        on_failure = None
    if on_failure in ("undo", "complete_forward"):
        rolls_back = True
    fields["rollback_on_failure"] = rolls_back
    if on_failure == "complete_forward" and fields["timeout_seconds"] is None:
        fields["timeout_seconds"] = 20.0
    budget = one_of(work, (None,) * 7 + ("0", "5", "1000"))
    return PlannedBatch(
        name=name,
        number=number,
        at=work.random() * safety * 0.7,
        legs=legs,
        fields=fields,
        policy={
            "on_failure": on_failure,
            "undo_budget": Decimal(budget)
            if budget is not None and rolls_back and on_failure != "keep"
            else None,
        },
        again=one_of(work, (0, 0, 0, 0, 0, 0, 1, 3)),
        other_body=chance(work, 0.06),
        patient=chance(work, 0.85),
        watches=chance(work, 0.4),
    )


def _leg(work: Random, name: str, position: int, *, transfers: bool) -> Leg:
    directive_id = f"EXE_{position:04d}"
    if transfers:
        way = one_of(work, ("deposit", "withdrawal"))
        cash = Decimal(1 + int(work.random() * 1000))
        fields = {"portfolio": one_of(work, PORTFOLIOS), "way": way, "cash": cash}
        return Leg(name, "cash_transfer", {"directive_id": directive_id, **fields})
    lot = one_of(work, (Decimal(1), Decimal(1), Decimal("0.5")))
    retry = {
        "attempts": one_of(work, (1, 1, 2, 3)),
        "compensation_attempts": one_of(work, (3, 3, 4)),
        "backoff_seconds": one_of(work, (0.0, 0.2, 1.0)),
        "undo_patience_seconds": one_of(work, (2.0, 10.0)),
    }
    limited = chance(work, 0.3)
    return Leg(
        name,
        one_of(work, ("buy", "sell")),
        {
            "directive_id": directive_id,
            "symbol": one_of(work, SYMBOLS),
            "quantity": lot * (1 + int(work.random() * 40)),
            "limit_price": Decimal(100) if limited else None,
            "reference_price": Decimal(100),
            "time_in_force": one_of(work, ("DAY", "DAY", "GTC", "IOC")),
            "lot": lot,
            "retry": retry if chance(work, 0.7) else None,
        },
    )
