"""Every requirement is borne by a test, and every number that a test bears is a requirement.

D is the design card, E the execution directive batch, O batch operations and their rollback, B the
batch as a first-class thing; S and L are the invariants (safety, liveness).
Red here means that something asked for is not shown, not that it is broken.
"""

import ast
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def _numbered(letter: str, last: int) -> list[str]:
    return [f"{letter}{number}" for number in range(1, last + 1)]


NOT_YET = {"B10"}  # the dashboard

TO_BE_SHOWN = [
    requirement
    for requirement in [
        *_numbered("D", 7),
        *_numbered("E", 14),
        *_numbered("O", 11),
        *_numbered("B", 11),
    ]
    if requirement not in NOT_YET
]

KNOWN = {
    *TO_BE_SHOWN,
    *NOT_YET,
    "E15",
    *_numbered("T", 18),
    *_numbered("P", 12),
    *_numbered("S", 18),
    *_numbered("L", 6),
}


def _ids_in(source: str) -> set[str]:
    """The ids in every `pytest.mark.requirement(...)` of one file."""
    return {
        argument.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.requirement"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


@cache
def _borne() -> dict[str, list[str]]:
    """Each id and the test files that bear it."""
    bearers: dict[str, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for identifier in _ids_in(file.read_text(encoding="utf-8")):
            bearers.setdefault(identifier, []).append(str(file.relative_to(TESTS)))
    return bearers


def test_every_requirement_is_borne_by_a_test() -> None:
    missing = [identifier for identifier in TO_BE_SHOWN if identifier not in _borne()]
    assert not missing, f"no test bears {', '.join(missing)}"


def test_every_id_that_a_test_bears_is_known() -> None:
    unknown = {
        identifier: files for identifier, files in _borne().items() if identifier not in KNOWN
    }
    assert unknown == {}


def test_the_ids_are_read_from_marks_and_from_nothing_else() -> None:
    source = '"E1"\n@pytest.mark.requirement("E2", "O3")\ndef test_x(): mark("E4")\n'
    assert _ids_in(source) == {"E2", "O3"}
