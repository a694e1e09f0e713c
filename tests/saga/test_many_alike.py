"""Objects that are nearly alike are written in fewer bytes, and come back as they were."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from saga.many_alike import fold_alike, unfold_alike

NAMES = ("alike", "fields", "each", "kind")
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, 0.0, -0.0, "", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
OBJECTS = st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES), min_size=1, max_size=4)


@given(OBJECTS)
def test_objects_come_back_to_the_letter(objects: list[dict[str, Any]]) -> None:
    written = json.dumps(fold_alike(objects))
    back = unfold_alike(json.loads(written))
    assert json.dumps(back, sort_keys=True) == json.dumps(objects, sort_keys=True)


def test_what_they_have_in_common_is_written_once() -> None:
    objects = [{"kind": "buy", "n": 1, "lot": "1"}, {"kind": "buy", "n": 1.0, "lot": "1"}]
    assert fold_alike(objects) == {
        "alike": {"kind": "buy", "lot": "1"},
        "fields": ["n"],
        "each": [[1], [1.0]],
    }


def test_one_alone_or_with_other_fields_stays_as_it_is() -> None:
    for objects in ([{"kind": "buy"}], [{"kind": "buy"}, {"kind": "buy", "lot": "1"}]):
        assert fold_alike(objects) is objects
