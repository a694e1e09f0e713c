"""Runs the tests against each mutant, in a process of its own that is forked for it.

One pytest session imports and collects everything, and then, where it would run its tests, forks
once for each mutant. A mutant inside a function takes the place of that function's code, and meets
only the tests that call the function. One outside of functions (a table, a constant, a default, a
decorator) must be imported: its child forgets the package, and begins a session of its own. Either
way the first test that fails ends it. All of it happens in a copy of the checkout.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Final

import pytest

from tests.mutation.operators import Mutant

CHECKOUT: Final = Path(__file__).parents[2]
COPIED: Final = ("saga", "brokers", "portfolio", "desk", "tests", "diagrams", "pyproject.toml")
MAX_MEMORY_BYTES: Final = 2 * 1024**3
"""A mutant that goes round in circles may not take the machine with it."""
POLL_SECONDS: Final = 0.005
MAX_CPU_SECONDS: Final = 12
"""All tests take two or three without a mutant. Of work, not of the clock: others work here too."""
MAX_SECONDS: Final = 600.0
"""One that waits for something does no work."""
MACHINE: Final = "saga.machine"
MACHINE_TESTS: Final = (
    "tests/saga/test_state_machines.py",
    # It reads the files of the checkout, which are not mutated.
    "--deselect=tests/saga/test_state_machines.py"
    "::test_nothing_but_the_machine_module_can_change_a_state",
)
OWN_PLUGINS: Final = ("-p", "anyio", "-p", "_hypothesis_pytestplugin", "-p", "no:cacheprovider")


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    TIMEOUT = "timeout"
    """It never came to an end, which a person would have noticed."""


@contextmanager
def snapshot() -> Iterator[Path]:
    """Work in a copy of the checkout, so that an edit meanwhile kills no mutant."""
    with TemporaryDirectory(prefix="trade-saga-mutants-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        sys.path[:] = [str(copy), *(place for place in sys.path if Path(place) != CHECKOUT)]
        sys.modules["tests"].__path__ = [str(copy / "tests")]
        os.chdir(copy)
        yield copy


def kill(
    mutants: Sequence[Mutant],
    tests: Sequence[str],
    told: Callable[[Mutant, Fate], None],
    *,
    at_once: int,
) -> bool:
    """Run the tests against each mutant; return False if they fail without any.

    Args:
        mutants: what is run.
        tests: what pytest is told to run.
        told: hears each mutant's fate, as soon as it is known.
        at_once: how many processes run at the same time.
    """
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    session = _Session(mutants, tuple(tests), told, at_once)
    status = pytest.main(["-q", "--no-header", *OWN_PLUGINS, *tests], plugins=[session])
    return status == pytest.ExitCode.OK


@dataclass(slots=True, eq=False)
class _Session:
    """The plugin that runs mutants where pytest would end its run of the tests."""

    mutants: Sequence[Mutant]
    tests: tuple[str, ...]
    told: Callable[[Mutant, Fate], None]
    at_once: int
    callers: dict[CodeType, list[pytest.Item]] = field(default_factory=dict)
    """Which tests call a function, by its code."""
    work: dict[pytest.Item, float] = field(default_factory=dict)
    """How much work each test is; those that are little go first."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Note what a test calls, while it runs without any mutant."""
        called: dict[CodeType, None] = {}

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call":
                called[frame.f_code] = None

        began = time.process_time()
        sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(None)
        self.work[item] = time.process_time() - began
        for code in called:
            self.callers.setdefault(code, []).append(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Run the tests once without any mutant, then once for each."""
        done = yield
        if not session.testsfailed:
            session.config.pluginmanager.unregister(self)
            for mutant, fate in _fates(self.mutants, self.run, self.at_once):
                self.told(mutant, fate)
        return done

    def run(self, mutant: Mutant) -> bool:
        """Run the tests against a mutant, in a process that was forked for it; tell if all pass."""
        if mutant.function is None:
            return _run_anew(mutant, self.tests)
        function = _function(mutant.module, mutant.function)
        items = sorted(self.callers.get(function.__code__, []), key=self.work.__getitem__)
        if not items:  # it is called on import, if at all
            return _run_anew(mutant, self.tests)
        function.__code__ = _code_in(mutant.code, mutant.function)
        for item in items:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if item.session.testsfailed:
                return False
        return True


def _fates(
    mutants: Iterable[Mutant], run: Callable[[Mutant], bool], at_once: int
) -> Iterator[tuple[Mutant, Fate]]:
    running: dict[int, tuple[Mutant, float]] = {}
    waiting = iter(mutants)
    more = True
    while more or running:
        while more and len(running) < at_once:
            mutant = next(waiting, None)
            if mutant is None:
                more = False
                break
            running[_fork(mutant, run)] = (mutant, time.monotonic() + MAX_SECONDS)
        time.sleep(POLL_SECONDS)
        for process, (mutant, deadline) in list(running.items()):
            fate = _fate(process, deadline)
            if fate is not None:
                del running[process]
                yield mutant, fate


def _fate(process: int, deadline: float) -> Fate | None:
    ended, status = os.waitpid(process, os.WNOHANG)
    if ended and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return Fate.TIMEOUT
    if ended:
        return Fate.SURVIVED if status == 0 else Fate.KILLED
    if time.monotonic() < deadline:
        return None
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return Fate.TIMEOUT


def _fork(mutant: Mutant, run: Callable[[Mutant], bool]) -> int:
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
        status = 0 if run(mutant) else 1
    finally:
        os._exit(status)


# --- a mutant inside a function ----------------------------------------------------------------


def _function(module: str, name: str) -> FunctionType:
    found: object = sys.modules[module]
    for part in name.split("."):
        found = vars(found)[part]
    if isinstance(found, property):
        found = found.fget
    assert isinstance(found, FunctionType), f"{module} {name} is no function"
    return found


def _code_in(code: CodeType, name: str) -> CodeType:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == name:
                return constant
            if name.startswith(f"{constant.co_qualname}."):
                return _code_in(constant, name)
    raise LookupError(f"{name} is not in {code.co_qualname}")


# --- a mutant outside of functions -------------------------------------------------------------


class _Substitute(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Hands out a mutant where its module is asked for."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._mutant.module:
            return None
        place = f"{name.replace('.', '/')}.py"
        return importlib.util.spec_from_file_location(name, place, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self._mutant.code, module.__dict__)


def _run_anew(mutant: Mutant, tests: tuple[str, ...]) -> bool:
    sys.meta_path.insert(0, _Substitute(mutant))
    if mutant.module == MACHINE:
        # Its own tests need little else, and kill almost all of its mutants.
        _forget()
        package = ModuleType("saga")  # without its `__init__`, which imports everything
        package.__path__ = ["saga"]
        sys.modules["saga"] = package
        if not _passes(MACHINE_TESTS):
            return False
    _forget()
    return _passes(tests)


def _forget() -> None:
    here = str(Path.cwd())
    for name, module in list(sys.modules.items()):
        if name == "saga" or (getattr(module, "__file__", None) or "").startswith(here):
            del sys.modules[name]


def _passes(tests: Sequence[str]) -> bool:
    return pytest.main(["-x", "-q", "--no-header", *OWN_PLUGINS, *tests]) == pytest.ExitCode.OK
