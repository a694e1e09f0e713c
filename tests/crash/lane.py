"""One engine and one exchange, hit again and again: each round is a strike, a restart, a judgement.

A round lets clients submit batches, hits, starts the engine again by the real start-up path until
everything is at rest, and has the checker compare. What the clients were told is kept over all
rounds of the lane, and so are the books of both sides.
"""

import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import anyio

from saga.errors import StoreBusy
from saga.model import Batch
from tests.crash.checker import Finding, Told, Wrong, judge
from tests.crash.engine_process import HISTORY, HITS, STORE, End, Life, live
from tests.crash.exchange_process import BOOKS, Arrival, arrivals, keep_exchange
from tests.crash.processes import PATIENCE_SECONDS, Child
from tests.crash.strikes import EXPECTS_REFUSAL, Blow, Kind, Strike
from tests.crash.workload import SETTINGS, batches_for, deposits, open_books

LONGEST_RANDOM_SECONDS: Final = 0.25
"""A kill at random comes so long after the engine was entered, at most."""
LEAVE_SECONDS: Final = 10.0
"""A process that is asked to leave has left by then."""
CANCELLED_SHARE: Final = 0.15
_STORE_FILES: Final = ("", "-wal", "-shm")
_STOPPED_IN_A_COMMIT: Final = f"{StoreBusy.__name__}: "
"""So a next owner's refusal begins while a stopped process holds SQLite's write lock."""
_ENDS: Final[dict[Blow, frozenset[int]]] = {
    Blow.TERM: frozenset({End.OVER}),
    Blow.TERM_TWICE: frozenset({End.OVER, End.STOPPED, -signal.SIGTERM}),
    Blow.FILL_DISK: frozenset({End.POISONED, End.OVER}),
}
"""How a process may end that is not killed."""


@dataclass(slots=True)
class Tally:
    """What came of a number of rounds.

    Attributes:
        points: how often each kind of strike was dealt.
        batches: how many were acknowledged.
        orders: how many are in the exchange's books.
        refused_starts: how often a start was refused that had to be.
        findings: everything that is wrong.
    """

    points: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    orders: int = 0
    refused_starts: int = 0
    findings: list[Finding] = field(default_factory=list)


class Lane:
    """One engine and one exchange, with their files.

    Args:
        seed: of everything that is drawn.
        plant: puts a bug into each process of the engine.
    """

    def __init__(self, seed: int, *, plant: Callable[[], None] | None = None) -> None:
        self._chance = Random(seed)
        self._plant = plant
        self.folder = Path(tempfile.mkdtemp(prefix="drill-"))  # short: a socket's name has a bound
        self._stores = self.folder / "store"
        self._stores.mkdir()
        self._lives = 0
        self._generation = 0
        self._told = Told()
        self._known: set[str] = set()
        self._exchange: Child
        self.tally = Tally()

    def __enter__(self) -> Self:
        anyio.run(open_books, self.folder)
        (self.folder / "settings.json").write_text(SETTINGS.model_dump_json())
        self._start_exchange()
        try:
            self._recover(deposits())
        except BaseException:
            self._exchange.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exchange.end()
        if not self.tally.findings and error is None:
            shutil.rmtree(self.folder)

    def round(self, kind: Kind) -> bool:
        """Strike once, start again, and judge; return whether the strike was dealt."""
        before = len(self.tally.findings)
        dealt = self._deal(kind)
        if dealt:
            self.tally.points[kind.name] += 1
        self._recover()
        self._judge(kind)
        return dealt and len(self.tally.findings) == before

    # --- strikes ----------------------------------------------------------------------------------

    def _deal(self, kind: Kind) -> bool:
        match kind.name:
            case "random":
                return self._at_random()
            case "exchange killed":
                return self._exchange_killed()
            case "frozen long" | "frozen briefly":
                return self._frozen(kind)
            case _ if kind.name in EXPECTS_REFUSAL:
                return self._refused(kind)
            case _:
                return self._by_itself(kind)

    def _by_itself(self, kind: Kind) -> bool:
        """The process hits itself where it was told to."""
        if kind.prelude is not None:
            self._live(self._wanted(kind), Strike(kind.prelude, self._chance.randint(1, 3)))
        if kind.name == "K23":
            self._generation += 1
        strikes = [Strike(self._chance.choice(kind.places), self._nth(kind), kind.blow)]
        if kind.then is not None:
            strikes.append(Strike(kind.then))
        # What a prelude left is enough to take up; more would hide that it is taken up.
        wanted = [] if kind.prelude is not None else self._wanted(kind)
        hits = self._hits()
        child = self._live(wanted, *strikes)
        ends = _ENDS.get(kind.blow, frozenset())
        if kind.then is not None or not ends:
            return child.code == -signal.SIGKILL
        if child.code not in ends:
            self._find(f"{kind.name}: the process ended with {child.code}: {child.said}")
        if kind.blow is Blow.TERM and not self._is_released():
            self._find(f"{kind.name}: the store was not given up")
        if kind.blow is Blow.FILL_DISK and child.code == End.OVER:
            return False  # what was still to be written found its room
        return self._hits() > hits

    def _at_random(self) -> bool:
        with self._begin(self._wanted_for("slow")) as child:
            if child.hears() != "entered":
                self._find(f"the engine was not entered: {child.said}")
                return False
            # Time is what kills here, and it is meant to be the wall's.
            time.sleep(self._chance.uniform(0, LONGEST_RANDOM_SECONDS))
            child.signal(signal.SIGKILL)
            return child.wait() == -signal.SIGKILL

    def _exchange_killed(self) -> bool:
        with self._begin(self._wanted_for("slow")) as child:
            child.hears()
            time.sleep(self._chance.uniform(0, LONGEST_RANDOM_SECONDS / 3))
            lived = child.code is None
            self._exchange.end()
            time.sleep(self._chance.uniform(0, LONGEST_RANDOM_SECONDS / 3))
            self._start_exchange()
            if self._chance.random() < 0.5:
                time.sleep(self._chance.uniform(0, LONGEST_RANDOM_SECONDS))
                child.signal(signal.SIGKILL)
            child.wait()
            return lived

    def _frozen(self, kind: Kind) -> bool:
        """SIGSTOP, another owner takes the store over, SIGCONT: the thawed one sends nothing."""
        strike = Strike(self._chance.choice(kind.places), self._nth(kind), Blow.FREEZE)
        with self._begin(self._wanted(kind), strike) as frozen:
            if not frozen.wait_until_stopped():
                return False
            until = time.monotonic() + SETTINGS.call_timeout_seconds + 1.0
            with self._begin([], take_over=True) as next_owner:
                heard = next_owner.hears()
                if heard is not None and heard.startswith(_STOPPED_IN_A_COMMIT):
                    return False  # as it asks for, the frozen one is ended; and is tried again
                if heard != "entered":
                    self._find(f"a frozen owner could not be taken over: {next_owner.said}")
                    return False
                before = self._sent_by(frozen)
                if kind.name == "frozen long":
                    next_owner.wait()
                    time.sleep(max(0.0, until - time.monotonic()))
                    before = self._sent_by(frozen)
                frozen.signal(signal.SIGCONT)
                end = frozen.wait(LEAVE_SECONDS)
                if end != End.FENCED:
                    self._find(f"the thawed engine was not fenced, but ended with {end}")
                after = self._sent_by(frozen)
                if kind.name == "frozen long" and after != before:
                    sent = [arrival.key for arrival in after[len(before) :]]
                    self._find(f"the thawed engine sent {sent} although another owns the store")
                if next_owner.wait() != End.OVER:
                    self._find(f"the next owner ended with {next_owner.code}: {next_owner.said}")
        return True

    def _sent_by(self, child: Child) -> list[Arrival]:
        return [each for each in arrivals(self.folder) if each.pid == child.pid]

    def _refused(self, kind: Kind) -> bool:
        """Harm the store's files, see that it is not opened, and put them right again."""
        store = self._stores / STORE
        aside = self.folder / "aside"
        aside.mkdir()
        old = [Path(shutil.copy2(each, aside)) for each in self._store_files()]
        place = self._chance.choice(kind.places)
        child = self._live(self._wanted(kind), Strike(place, self._chance.randint(2, 4)))
        dealt = child.code == -signal.SIGKILL
        truth = self.folder / "truth"
        truth.mkdir()
        for each in self._store_files():
            shutil.copy2(each, truth)
        harmed = self._stores if self._chance.random() < 0.5 else store
        match kind.name:
            case "read-only":
                mode = harmed.stat().st_mode
                harmed.chmod(0o500 if harmed is self._stores else 0o400)
            case "log removed":
                self._remove("-wal", "-shm")
            case "old copy":
                self._remove(*_STORE_FILES)
                for each in old:
                    shutil.copy2(each, self._stores)
        if dealt:
            self._expect_refusal(kind)
        if kind.name == "read-only":
            harmed.chmod(mode)
        else:
            self._remove(*_STORE_FILES)
            for each in truth.iterdir():
                if not each.name.endswith("-shm"):
                    shutil.copy2(each, self._stores)
        shutil.rmtree(aside)
        shutil.rmtree(truth)
        return dealt

    def _expect_refusal(self, kind: Kind) -> None:
        with self._begin([], only_open=True) as child:
            if child.wait() == End.REFUSED:
                self.tally.refused_starts += 1
            else:
                self._find(f"{kind.name}: the store was opened (exit code {child.code})")

    def _store_files(self) -> Iterator[Path]:
        for suffix in _STORE_FILES:
            file = self._stores / f"{STORE}{suffix}"
            if file.exists():
                yield file

    def _remove(self, *suffixes: str) -> None:
        for suffix in suffixes:
            (self._stores / f"{STORE}{suffix}").unlink(missing_ok=True)

    # --- lives ------------------------------------------------------------------------------------

    def _nth(self, kind: Kind) -> int:
        return self._chance.randint(1, kind.most)

    def _wanted(self, kind: Kind) -> list[Batch]:
        return self._wanted_for(kind.needs)

    def _wanted_for(self, recipe: str) -> list[Batch]:
        return batches_for(recipe, self._chance)

    @contextmanager
    def _begin(
        self,
        wanted: Iterable[Batch],
        *strikes: Strike,
        take_over: bool = False,
        only_open: bool = False,
    ) -> Iterator[Child]:
        """Start a process of the engine; what its clients wrote down is heard when it is over."""
        batches = list(wanted)
        cancels = [
            batch.batch_id
            for batch in batches
            if batch.metadata and self._chance.random() < CANCELLED_SHARE
        ]
        life = Life(
            folder=self.folder,
            stores=self._stores,
            number=self._lives,
            batches=(*self._told.unanswered, *(batch.model_dump_json() for batch in batches)),
            cancels=frozenset(cancels),
            strikes=strikes,
            generation=self._generation,
            take_over=take_over,
            only_open=only_open,
            plant=self._plant,
            seed=self._chance.getrandbits(32),
        )
        if only_open or take_over:
            life = replace(life, batches=())
        self._lives += 1
        with Child(live, life) as child:
            yield child
        diary = self.folder / HISTORY.format(life.number)
        if diary.exists():
            self._told.hear(diary)

    def _live(self, wanted: Iterable[Batch], *strikes: Strike) -> Child:
        """Let one process live to its end, whatever that is."""
        with self._begin(wanted, *strikes) as child:
            if child.wait() is None:
                self._find(f"process {child.pid} did not end within {PATIENCE_SECONDS} seconds")
        return child

    def _recover(self, wanted: Iterable[Batch] = ()) -> None:
        """Start again until everything is at rest; the clients ask again what was not answered."""
        child = self._live(wanted)
        if child.code != End.OVER:
            self._find(f"the engine did not come to rest: exit code {child.code}, {child.said}")

    def _start_exchange(self) -> None:
        self._exchange = Child(keep_exchange, self.folder)
        if self._exchange.hears() != "ready":
            raise RuntimeError("the exchange did not start")

    # --- judgement --------------------------------------------------------------------------------

    def _hits(self) -> int:
        log = self.folder / HITS
        return len(log.read_bytes().splitlines()) if log.exists() else 0

    def _is_released(self) -> bool:
        place = f"file:{quote(str(self._stores / STORE))}?mode=ro"
        with closing(sqlite3.connect(place, uri=True)) as connection:
            ((released,),) = connection.execute("SELECT released FROM owner").fetchall()
        return bool(released)

    def _judge(self, kind: Kind) -> None:
        verdict = judge(self._stores / STORE, self.folder / BOOKS, self._told)
        self.tally.batches, self.tally.orders = verdict.batches, verdict.orders
        for finding in verdict.findings:
            if finding.sentence not in self._known:
                self._known.add(finding.sentence)
                sentence = f"{finding.sentence} [{self.folder}, after {kind.name}]"
                self.tally.findings.append(Finding(finding.sort, sentence))

    def _find(self, sentence: str) -> None:
        self.tally.findings.append(
            Finding(Wrong.UNEXPLAINED, f"{sentence} [{self.folder}, life {self._lives - 1}]")
        )
