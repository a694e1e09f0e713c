"""Every named scenario is borne by a test, and every name that a test bears is one of them.

A is a crash on the forward path, B compensation, C broker behaviours, D the store, E the clock,
F concurrency, G bad input, H risk controls; I and J come with what they are about.
Red here means that a scenario is not shown, not that it is broken.
"""

from tests.packaging.marks import borne

HOW_MANY = {"A": 17, "B-": 14, "C": 22, "D": 19, "E": 6, "F": 12, "G": 11, "H": 10}
TO_BE_SHOWN = [
    f"{letter}{number}" for letter, last in HOW_MANY.items() for number in range(1, last + 1)
]


def test_every_scenario_is_borne_by_a_test() -> None:
    missing = [identifier for identifier in TO_BE_SHOWN if identifier not in borne("scenario")]
    assert not missing, f"no test bears {', '.join(missing)}"


def test_every_scenario_that_a_test_bears_is_known() -> None:
    unknown = {name: files for name, files in borne("scenario").items() if name not in TO_BE_SHOWN}
    assert unknown == {}


def test_there_are_as_many_scenarios_as_ever() -> None:
    assert len(TO_BE_SHOWN) == 111
