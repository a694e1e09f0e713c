"""Every requirement is borne by a test, and every number that a test bears is a requirement.

D is the design card, E the execution directive batch, O batch operations and their rollback, B the
batch as a first-class thing; S and L are the invariants (safety, liveness).
Red here means that something asked for is not shown, not that it is broken.
"""

from tests.packaging.marks import borne, ids_in


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


def test_every_requirement_is_borne_by_a_test() -> None:
    missing = [identifier for identifier in TO_BE_SHOWN if identifier not in borne("requirement")]
    assert not missing, f"no test bears {', '.join(missing)}"


def test_every_id_that_a_test_bears_is_known() -> None:
    unknown = {
        identifier: files
        for identifier, files in borne("requirement").items()
        if identifier not in KNOWN
    }
    assert unknown == {}


def test_the_ids_are_read_from_marks_and_from_nothing_else() -> None:
    source = '"E1"\n@pytest.mark.requirement("E2", "O3")\ndef test_x(): mark("E4")\n'
    assert ids_in(source, "requirement") == {"E2", "O3"}
