"""Bugs that are planted on purpose are found: a handful here, all of them by `make planted`."""

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.planted.bug import SIMULATION, Bug, Edit, Inapplicable, planted
from tests.planted.bugs import BUGS
from tests.planted.finding import recorded, search, unsound, verify
from tests.planted.garden import CHECKOUT

ENOUGH: int = 40
"""There are so many at least; docs/reliability.md says what they are for."""
FEW_SEEDS: int = 150
"""So many are looked at anew for one of the handful, should its recorded seed find it no longer."""
HANDFUL = (
    "commit after send",
    "timeout is a refusal",
    "a part is enough for an atomic batch",
)


def bug_named(name: str) -> Bug:
    (bug,) = (each for each in BUGS if each.name == name)
    return bug


def test_there_are_enough_bugs_and_each_has_a_name_and_a_story() -> None:
    assert len(BUGS) >= ENOUGH
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert all(bug.story and bug.edits for bug in BUGS)
    assert all(bug.why for bug in BUGS if bug.harness != SIMULATION)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_each_bug_can_be_planted_and_the_program_with_it_compiles(bug: Bug) -> None:
    changed: dict[str, str] = {}
    for edit in bug.edits:
        source = changed.get(edit.file) or (CHECKOUT / edit.file).read_text(encoding="utf-8")
        changed[edit.file] = planted(source, bug, edit)
    for file, text in changed.items():
        compile(text, file, "exec")


def test_a_bug_that_fits_the_program_no_longer_says_so() -> None:
    bug = bug_named(HANDFUL[0])
    edit = Edit("saga/core.py", "what stands nowhere", "whatever")

    with pytest.raises(
        Inapplicable, match="'commit after send' exchanges words that stand 0 times"
    ):
        planted("the program", bug, edit)
    verdict = verify(replace(bug, edits=(edit,)), CHECKOUT, None)
    assert verdict.finding is None
    assert "plant the bug anew" in verdict.note


@pytest.mark.parametrize("name", HANDFUL)
def test_the_simulation_finds_it(name: str) -> None:
    bug = bug_named(name)
    verdict = verify(bug, CHECKOUT, recorded().get(name))
    if verdict.finding is None:
        verdict = search(bug, CHECKOUT, FEW_SEEDS, ())

    assert verdict.finding is not None, verdict.note
    assert verdict.finding.seed is not None
    assert not unsound(CHECKOUT, [verdict.finding.seed])


def test_a_bug_that_nobody_planted_is_not_looked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.planted", "--only=nosuch"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no planted bug with 'nosuch' in its name" in done.stderr
