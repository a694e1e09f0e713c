"""Reading JSON text that people and programs hand in: strictly, and within bounds.

Python's reader keeps the last of two equal keys, takes `NaN` for a number, and nests as deep as the
stack goes. Here each of these is refused with a sentence, because a document that can be read in
two ways must not become an order.
"""

import json
from typing import Any, NoReturn

from saga.errors import InvalidInput
from saga.wording import shown


def read_object(
    data: str | bytes, *, max_bytes: int, max_depth: int, max_nested: int
) -> dict[str, Any]:
    """Return the object that a JSON text describes.

    Args:
        data: the text; bytes are UTF-8, with or without a byte order mark.
        max_bytes: most bytes of the text, as UTF-8.
        max_depth: most levels of nesting, the outermost object included.
        max_nested: most objects and arrays in it, which is what bounds the memory it takes.

    Raises:
        InvalidInput: it is not such a text; the sentence says where and why.
    """
    text = _text_of(data, max_bytes)
    # Brackets inside strings count as well: a cheap bound on what the reader will build.
    nested = text.count("{") + text.count("[")
    if nested > max_nested:
        raise InvalidInput(
            f"the JSON text must hold at most {max_nested} objects and arrays, not {nested}; "
            "split it into several batches"
        )
    too_deep = InvalidInput(
        f"the JSON text must not be nested deeper than {max_depth} levels; flatten it"
    )
    try:
        value = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except RecursionError:
        raise too_deep from None
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"the JSON text cannot be read at line {error.lineno}, column {error.colno}: "
            f"{error.msg}; correct it there"
        ) from None
    except ValueError:
        # The only other complaint of the reader: an integer of more digits than Python converts.
        raise InvalidInput(
            "the JSON text holds an integer of thousands of digits, which is no quantity; "
            "correct it"
        ) from None
    if not isinstance(value, dict):
        raise InvalidInput(f"the JSON text must be one object, {{...}}, not {shown(value)}")
    if _is_deeper_than(max_depth, value):
        raise too_deep
    return value


def _text_of(data: str | bytes, max_bytes: int) -> str:
    size = len(data)
    if size <= max_bytes and isinstance(data, str):
        size = len(data.encode(errors="surrogatepass"))
    if size > max_bytes:
        raise InvalidInput(
            f"the JSON text must be at most {max_bytes} bytes, not {size}; "
            "split it into several batches"
        )
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"the JSON text must be UTF-8, and byte {error.start} of it, "
            f"0x{data[error.start]:02x}, is not; save it as UTF-8"
        ) from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen = set()
        for key, value in pairs:
            if key in seen:
                raise InvalidInput(
                    f"field {shown(key)} stands twice in one JSON object, the second time as "
                    f"{shown(value)}; each field may stand once, so remove one"
                )
            seen.add(key)
    return result


def _no_constant(name: str) -> NoReturn:
    raise InvalidInput(
        f"{name} is not JSON and not a finite number; write a number or leave it out"
    )


def _is_deeper_than(max_depth: int, value: object) -> bool:
    # Level by level instead of by recursion: what is too deep must not be a problem to find.
    level: list[object] = [value]
    for _ in range(max_depth):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)  # type: ignore[attr-defined]
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True
