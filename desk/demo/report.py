"""What the demo found: one report for each scene, one for the books, and the JSON of both."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from desk.demo.books_check import BooksCheck
from saga.views import BatchRow

SCENES: Final = 5


@dataclass(slots=True)
class Checks:
    """What a scene claims, and whether it is so."""

    seen: list[tuple[bool, str]] = field(default_factory=list)

    def that(self, holds: bool, claim: str) -> None:
        """Note a claim, and whether it holds."""
        self.seen.append((holds, claim))

    @property
    def wrong(self) -> tuple[str, ...]:
        """The claims that do not hold."""
        return tuple(claim for holds, claim in self.seen if not holds)


@dataclass(frozen=True, slots=True)
class SceneReport:
    """What came of one scene.

    Attributes:
        name: the scene's short name.
        batch: its batch, as it stands at the end of the scene; None where there is none.
        way: the states that the batch went through.
        orders: how many orders in the exchange's own books are the scene's.
        wrong: what was not as it should be.
    """

    name: str
    batch: BatchRow | None
    way: tuple[str, ...]
    orders: int
    wrong: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return it as it stands in the JSON."""
        return {
            "name": self.name,
            "batch_id": self.batch.batch_id if self.batch else None,
            "state": self.batch.state if self.batch else None,
            "outcome": self.batch.outcome if self.batch else None,
            "orders": self.orders,
            "way": list(self.way),
        }


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What came of the whole demo.

    Attributes:
        seconds: how long it took.
        kept: the folder that was kept; None if nothing was.
        books: the check of the exchange's books; None if it did not come to that.
        wrong: what was not as it should be, beside what the scenes say.
    """

    seed: int
    seconds: float
    kept: str | None
    scenes: tuple[SceneReport, ...]
    books: BooksCheck | None
    wrong: tuple[str, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """Everything that was not as it should be."""
        return tuple(self._faults())

    @property
    def ok(self) -> bool:
        """Everything was played, and was as it should be."""
        return not self.faults

    def _faults(self) -> Iterable[str]:
        yield from self.wrong
        for scene in self.scenes:
            for claim in scene.wrong:
                yield f"{scene.name}: not so: {claim}"
        if len(self.scenes) < SCENES:
            yield f"only {len(self.scenes)} of {SCENES} scenes were played"
        if self.books is None:
            yield "the exchange's books were not checked"
        else:
            yield from self.books.findings

    def as_json(self) -> dict[str, object]:
        """Return the one JSON object of `saga demo --json`."""
        books = self.books
        return {
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "scenes": [scene.as_json() for scene in self.scenes],
            "books": None
            if books is None
            else {
                "orders": books.orders,
                "duplicates": books.duplicates,
                "missing": books.missing,
                "unexplained": books.unexplained,
            },
            "seed": self.seed,
            "kept": self.kept,
            "wrong": list(self.faults),
        }
