"""The mutator itself: it makes the slips that it should, and its explanations are explanations."""

import ast
from pathlib import Path

import pytest

from tests.mutation.operators import Mutant, Site, mutants_of
from tests.mutation.survivors import Unexplained, as_toml, explanations

SOURCE = '''
"""A module."""

LIMIT = 3
TABLE = (A.ONE, A.TWO)


class Life:
    """A life."""

    count: int = 0

    @property
    def is_over(self) -> bool:
        """Tell whether it is over."""
        if self.count >= LIMIT and not self.paused:
            return True
        self.ask()
        return False
'''


def mutants() -> list[Mutant]:
    return list(mutants_of("saga.life", SOURCE, {"A": ("ONE", "TWO")}))


@pytest.mark.parametrize(
    ("was", "became"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("TABLE = (A.ONE, A.TWO)", "TABLE = (A.TWO,)"),
        ("TABLE = (A.ONE, A.TWO)", "TABLE = (A.TWO, A.TWO)"),
        ("count: int = 0", "count: int = 1"),
        ("@property is_over", "is_over"),
        (
            "if self.count >= LIMIT and (not self.paused): pass",
            "if self.count > LIMIT and (not self.paused): pass",
        ),
        (
            "if self.count >= LIMIT and (not self.paused): pass",
            "if self.count >= LIMIT or not self.paused: pass",
        ),
        ("if self.count >= LIMIT and (not self.paused): pass", "if not self.paused: pass"),
        (
            "if self.count >= LIMIT and (not self.paused): pass",
            "if self.count >= LIMIT and self.paused: pass",
        ),
        ("if self.count >= LIMIT and (not self.paused): pass", "if True: pass"),
        ("return True", "return False"),
        ("return False", "return None"),
        ("self.ask()", "pass"),
    ],
)
def test_each_kind_of_slip_is_made(was: str, became: str) -> None:
    assert (was, became) in {(m.site.was, m.site.became) for m in mutants()}


def test_no_two_mutants_have_the_same_name_and_none_is_the_source_itself() -> None:
    sites = [mutant.site for mutant in mutants()]

    assert len(set(sites)) == len(sites)
    assert all(site.was != site.became for site in sites)


def test_what_stands_in_a_functions_body_is_told_from_what_is_imported() -> None:
    where = {(mutant.site.was, mutant.function) for mutant in mutants()}

    assert ("return False", "Life.is_over") in where
    assert ("LIMIT = 3", None) in where
    assert ("@property is_over", None) in where


def test_a_mutant_is_compiled_with_one_slip_and_the_next_one_without_it() -> None:
    made = mutants()
    source = compile(ast.parse(SOURCE), "<source>", "exec")

    assert all(mutant.code.co_code is not None for mutant in made)
    assert sum(4 in mutant.code.co_consts for mutant in made) == 1
    assert 4 not in source.co_consts


def test_an_explanation_says_why(tmp_path: Path) -> None:
    site = Site("saga.life Life", "x == 'a'", 'x != "b"', 2)
    entry = as_toml(site)
    file = tmp_path / "survivors.toml"

    file.write_text(entry)
    with pytest.raises(Unexplained, match="without a reason"):
        explanations(file)
    told = entry.replace('why = ""', 'why = "nobody looks at a life that is over"')
    file.write_text(told)
    assert explanations(file) == {site: "nobody looks at a life that is over"}
    file.write_text(f"{told}\n{told}")
    with pytest.raises(Unexplained, match="twice"):
        explanations(file)


def test_the_committed_explanations_can_be_read() -> None:
    explanations()
