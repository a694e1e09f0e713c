"""A promise: a sentence, and the trial that shows whether it is kept."""

import inspect
from dataclasses import dataclass
from typing import Protocol

from saga.testing.bench import Bench


class Trial(Protocol):
    """A function that tries a promise on a bench, and raises its story where it is broken."""

    __name__: str

    async def __call__(self, bench: Bench) -> None:
        """Try it."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One rule of `saga.participant`.

    Attributes:
        name: the trial's name, for test ids.
        sentence: what is promised.
    """

    name: str
    sentence: str
    trial: Trial


class Promises(list[Promise]):
    """The promises of one module, in the order in which they are written down."""

    def promise(self, trial: Trial) -> Trial:
        """Add a trial, whose docstring is the sentence; a decorator."""
        sentence = inspect.getdoc(trial)
        assert sentence, "a trial says what is promised"
        self.append(Promise(trial.__name__, sentence.removesuffix("."), trial))
        return trial
