"""Which tests bear which ids: what `pytest.mark.<name>("A1", ...)` says in the tests' files."""

import ast
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def ids_in(source: str, mark: str) -> set[str]:
    """The ids in every such mark of one file."""
    return {
        argument.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{mark}"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


@cache
def borne(mark: str) -> dict[str, list[str]]:
    """Each id and the test files that bear it."""
    bearers: dict[str, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for identifier in ids_in(file.read_text(encoding="utf-8"), mark):
            bearers.setdefault(identifier, []).append(str(file.relative_to(TESTS)))
    return bearers
