"""A batch as a document: read strictly, within bounds, and described by a schema."""

import json
import subprocess
import sys
import tracemalloc
from typing import Any, Literal

import pytest

import brokers.orders  # noqa: F401 - the schema's examples speak of its kinds
from saga import model
from saga.directive import Directive, directive_kind
from saga.errors import InvalidInput
from saga.frozen_json import (
    MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH,
    MAX_METADATA_INTEGER_BITS,
    JsonObject,
    freeze,
    thaw,
)
from saga.model import MAX_BATCH_BYTES, MAX_BATCH_DEPTH, Batch, ExecutionMode, parse_batch


@directive_kind
class Knock(Directive):
    kind: Literal["knock"] = "knock"


GOOD = (
    '{"batch_id": "BAT_20261121_093000_k3v9x", "execution_mode": "ATOMIC", '
    '"directives": [{"directive_id": "EXE_1", "kind": "knock"}]}'
)


def refusal(data: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_batch(data)
    return str(caught.value)


def with_metadata(metadata: object) -> dict[str, object]:
    return {**json.loads(GOOD), "metadata": metadata}


# The text.


@pytest.mark.requirement("E8")
@pytest.mark.parametrize(
    "data", [GOOD, GOOD.encode(), "\ufeff" + GOOD, GOOD.encode("utf-8-sig"), json.loads(GOOD)]
)
def test_a_batch_is_read_from_text_from_bytes_and_from_a_mapping(data: Any) -> None:
    batch = parse_batch(data)
    assert batch.batch_id == "BAT_20261121_093000_k3v9x"
    assert batch.execution_mode is ExecutionMode.ATOMIC


@pytest.mark.scenario("G2")
@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            GOOD.replace('"ATOMIC"', '"ATOMIC", "execution_mode": "PARALLEL"'),
            "field 'execution_mode' stands twice in one JSON object, the second time as "
            "'PARALLEL'; each field may stand once, so remove one",
        ),
        (
            GOOD.replace('"knock"', '"knock", "kind": "knock"'),
            "field 'kind' stands twice in one JSON object, the second time as 'knock'; "
            "each field may stand once, so remove one",
        ),
        (
            GOOD.replace('"ATOMIC"', '"ATOMIC", "metadata": {"a": {"b": 1, "\\u0062": 2}}'),
            "field 'b' stands twice in one JSON object, the second time as 2; "
            "each field may stand once, so remove one",
        ),
        (
            GOOD.replace('"ATOMIC"', '"ATOMIC", "timeout_seconds": NaN'),
            "NaN is not JSON and not a finite number; write a number or leave it out",
        ),
        (
            GOOD.replace('"ATOMIC"', '"ATOMIC", "metadata": {"a": -Infinity}'),
            "-Infinity is not JSON and not a finite number; write a number or leave it out",
        ),
        (
            GOOD.replace('"ATOMIC"', '"ATOMIC", "timeout_seconds": 1e999'),
            "timeout_seconds: timeout must be positive and finite, not inf seconds; "
            "leave it out for no bound",
        ),
        (
            GOOD.replace('"ATOMIC"', '"ATOMIC", "timeout_seconds": ' + "9" * 5_000),
            "the JSON text holds an integer of thousands of digits, which is no quantity; "
            "correct it",
        ),
        ("[]", "the JSON text must be one object, {...}, not []"),
        ("null", "the JSON text must be one object, {...}, not None"),
        (
            "",
            "the JSON text cannot be read at line 1, column 1: Expecting value; correct it there",
        ),
        (
            GOOD + GOOD,
            f"the JSON text cannot be read at line 1, column {len(GOOD) + 1}: Extra data; "
            "correct it there",
        ),
        (
            GOOD.encode().replace(b"knock", b"kn\xf6ck"),
            "the JSON text must be UTF-8, and byte 122 of it, 0xf6, is not; save it as UTF-8",
        ),
        (
            GOOD.encode("utf-16"),
            "the JSON text must be UTF-8, and byte 0 of it, 0xff, is not; save it as UTF-8",
        ),
        (None, "a batch must be an object with fields, not None; give one"),
        ([], "a batch must be an object with fields, not []; give one"),
    ],
)
def test_a_text_that_can_be_read_in_two_ways_or_none_is_refused(data: Any, sentence: str) -> None:
    assert refusal(data) == sentence


@pytest.mark.scenario("G2")
@pytest.mark.requirement("E9")
@pytest.mark.parametrize("levels", [MAX_BATCH_DEPTH, 900, 100_000])
def test_a_text_nested_too_deep_is_refused(levels: int) -> None:
    deep = GOOD.replace('"ATOMIC"', '"ATOMIC", "x": ' + "[" * levels + "]" * levels)
    assert refusal(deep) == "the JSON text must not be nested deeper than 40 levels; flatten it"


def test_the_deepest_permitted_text_is_complained_about_for_its_content_alone() -> None:
    levels = MAX_BATCH_DEPTH - 1
    deep = GOOD.replace('"ATOMIC"', '"ATOMIC", "x": ' + "[" * levels + "]" * levels)
    assert refusal(deep) == "x: is not a known field; check its spelling or leave it out"


@pytest.mark.scenario("G2")
@pytest.mark.requirement("E9")
@pytest.mark.parametrize("data", ["x" * (MAX_BATCH_BYTES + 1), b"x" * (MAX_BATCH_BYTES + 1)])
def test_a_text_beyond_the_bound_of_bytes_is_refused_unread(data: str | bytes) -> None:
    assert refusal(data) == (
        "the JSON text must be at most 33554432 bytes, not 33554433; split it into several batches"
    )


def test_the_bound_of_a_text_is_in_bytes_not_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    text = GOOD.replace('"ATOMIC"', '"ATOMIC", "exclusion_key": "\u20ac"')
    monkeypatch.setattr(model, "MAX_BATCH_BYTES", len(text) + 2)
    parse_batch(text)
    monkeypatch.setattr(model, "MAX_BATCH_BYTES", len(text) + 1)
    assert f"not {len(text) + 2};" in refusal(text)


@pytest.mark.requirement("E9")
def test_a_text_that_would_swell_in_memory_is_refused_unread() -> None:
    swelling = '{"directives": [' + "{}," * 1_000_001 + "{}]}"
    tracemalloc.start()
    try:
        sentence = refusal(swelling)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sentence == (
        "the JSON text must hold at most 1000000 objects and arrays, not 1000004; "
        "split it into several batches"
    )
    assert peak < 3 * len(swelling)


@pytest.mark.requirement("E9")
def test_of_many_bad_directives_the_first_is_told_and_no_more_are_looked_at() -> None:
    sentence = refusal({**json.loads(GOOD), "directives": [{}] * 200_000})
    assert sentence.startswith("directives.0: kind is missing; ")
    assert "more)" not in sentence
    sentence = refusal({**json.loads(GOOD), "rollback_only": [0] * 200_000})
    assert sentence.startswith("rollback_only.0: directive_id must match pattern")
    assert "more)" not in sentence


# Metadata.


@pytest.mark.requirement("E7", "E9")
@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        (
            {"a": {1}},
            "metadata must be JSON, which {1} is not; write it as a string or a number",
        ),
        (
            {"a": b"x"},
            "metadata must be JSON, which b'x' is not; write it as a string or a number",
        ),
        (
            {"a": float("nan")},
            "metadata must be JSON, which nan is not; write it as a string or a number",
        ),
        (
            {"a": [float("inf")]},
            "metadata must be JSON, which inf is not; write it as a string or a number",
        ),
        (
            {"a": {1: 2}},
            "metadata must be JSON, where keys are strings, not 1; write the key as a string",
        ),
        (
            {None: 2},
            "metadata must be JSON, where keys are strings, not None; write the key as a string",
        ),
        ([1], "metadata must be a JSON object, not [1]; give names and values"),
        ("text", "metadata must be a JSON object, not 'text'; give names and values"),
        (
            {"a": "x\ud800y"},
            r"metadata must be JSON, and the text '\ud800' in it is not valid Unicode; remove it",
        ),
        (
            {"\udfff": 1},
            r"metadata must be JSON, and the text '\udfff' in it is not valid Unicode; remove it",
        ),
        (
            {"a": 2**MAX_METADATA_INTEGER_BITS},
            "metadata must not hold an integer of 1025 bits; integers have at most 1024 bits, "
            "write it as a string",
        ),
        (
            {"a": "x" * MAX_METADATA_BYTES},
            "metadata must be at most 65536 bytes as JSON, not more; "
            "keep the rest elsewhere and refer to it",
        ),
    ],
)
def test_metadata_that_would_not_come_back_equal_is_refused(
    metadata: object, sentence: str
) -> None:
    assert refusal(with_metadata(metadata)) == sentence


@pytest.mark.requirement("E7")
@pytest.mark.parametrize("character", ["x", "\u20ac", "\U0001f600", '"', "\n"])
def test_metadata_is_measured_as_compact_json_in_utf_8(character: str) -> None:
    each = len(json.dumps(character, ensure_ascii=False).encode()) - 2
    room = MAX_METADATA_BYTES - len('{"a":""}')
    fitting = {"a": character * (room // each)}
    assert parse_batch(with_metadata(fitting)).metadata == fitting
    assert "metadata must be at most 65536 bytes" in refusal(
        with_metadata({"a": character * (room // each + 1)})
    )


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.requirement("E7", "E9")
def test_metadata_may_be_nested_to_its_bound_and_no_deeper() -> None:
    deepest = nested(MAX_METADATA_DEPTH)
    batch = parse_batch(json.dumps(with_metadata(deepest)))
    assert batch.metadata == deepest
    assert Batch.model_validate_json(batch.model_dump_json()) == batch
    assert refusal(with_metadata(nested(MAX_METADATA_DEPTH + 1))) == (
        "metadata must not be nested deeper than 32 levels, and {} is; flatten it"
    )


@pytest.mark.requirement("E7", "E9")
def test_metadata_that_holds_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    assert "nested deeper than 32 levels" in refusal(with_metadata(endless))


@pytest.mark.requirement("E7", "E9")
def test_metadata_that_doubles_at_every_level_is_refused_before_it_is_copied() -> None:
    value: Any = []
    for _ in range(MAX_METADATA_DEPTH - 2):
        value = [value, value]
    tracemalloc.start()
    try:
        sentence = refusal(with_metadata({"a": value}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "metadata must be at most 65536 bytes" in sentence
    assert peak < 32 * 1024 * 1024


def test_subclasses_of_json_types_are_taken_as_plain_values() -> None:
    class Loud(str):
        __slots__ = ()

    frozen = freeze({Loud("a"): Loud("b"), "mode": ExecutionMode.ATOMIC})
    assert [type(each) for pair in frozen.items() for each in pair] == [str] * 4
    assert frozen["mode"] == "ATOMIC"


def test_a_frozen_object_reads_like_a_mapping_and_thaws_into_plain_ones() -> None:
    frozen = freeze({"a": [1, {"b": None}], "c": True})
    assert isinstance(frozen, JsonObject)
    assert (len(frozen), list(frozen), "a" in frozen) == (2, ["a", "c"], True)
    assert frozen == {"a": (1, {"b": None}), "c": True}
    assert thaw(frozen) == {"a": [1, {"b": None}], "c": True}
    assert type(thaw(frozen)["a"][1]) is dict
    assert repr(frozen) == "{'a': (1, {'b': None}), 'c': True}"
    assert hash(frozen) == hash(freeze({"c": True, "a": [1, {"b": None}]}))


# Size.


@pytest.mark.scenario("G2")
@pytest.mark.requirement("E2")
def test_a_batch_of_100_000_directives_is_read_in_bounded_memory() -> None:
    # In a process of its own, because a peak of memory is a process's whole life.
    script = """
import json, resource, sys
import brokers.orders
from saga.model import parse_batch
legs = [{"directive_id": f"EXE_{n}", "kind": "buy", "symbol": "AAPL", "quantity": "100",
         "limit_price": "150.25"} for n in range(100_000)]
text = json.dumps({"execution_mode": "PARALLEL", "directives": legs})
del legs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
batch = parse_batch(text)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(batch.directives), batch.width, (after - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    count, width, megabytes = map(int, done.stdout.split())
    assert (count, width) == (100_000, 100_000)
    assert megabytes < 400, f"reading it took {megabytes} MB"


# The schema.


@pytest.mark.requirement("E10")
def test_the_schema_bears_its_title_and_the_three_examples() -> None:
    schema = Batch.model_json_schema()
    assert schema["title"] == "ExecutionDirectiveBatch"
    exit_, cancel, hedge = schema["examples"]
    assert (exit_["execution_mode"], len(exit_["directives"]), exit_["timeout_seconds"]) == (
        *("ATOMIC", 3, 30),
    )
    assert exit_["metadata"]["reason"] == "FLASH_CRASH"
    assert (cancel["execution_mode"], len(cancel["directives"]), cancel["timeout_seconds"]) == (
        *("PARALLEL", 20, 10),
    )
    assert (hedge["execution_mode"], len(hedge["directives"])) == ("SEQUENTIAL", 2)


@pytest.mark.requirement("E10", "E12")
@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_example_of_the_schema_is_a_batch(place: int) -> None:
    example = Batch.model_json_schema()["examples"][place]
    batch = parse_batch(json.dumps(example))
    assert parse_batch(batch.model_dump_json()) == batch


@pytest.mark.requirement("E10")
def test_the_schema_states_the_rules_that_a_schema_can() -> None:
    schema = Batch.model_json_schema()
    fields = schema["properties"]
    assert set(fields) == set(Batch.model_fields)
    assert schema["required"] == ["directives", "execution_mode"]
    assert schema["additionalProperties"] is False
    assert fields["batch_id"]["pattern"] == r"^BAT_\d{8}_\d{6}_[0-9a-z]{5,8}$"
    assert fields["directives"]["minItems"] == 1
    assert schema["$defs"]["ExecutionMode"]["enum"] == ["SEQUENTIAL", "PARALLEL", "ATOMIC"]
    kinds = {kind["title"]: kind for kind in fields["directives"]["items"]["oneOf"]}
    assert kinds["Buy"]["required"] == ["directive_id", "kind", "quantity", "symbol"]
    assert kinds["Buy"]["additionalProperties"] is False


@pytest.mark.requirement("E10")
def test_the_schema_is_json_and_can_be_made_for_what_is_written_too() -> None:
    for schema in (Batch.model_json_schema(), Batch.model_json_schema(mode="serialization")):
        assert json.loads(json.dumps(schema)) == schema
