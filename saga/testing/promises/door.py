"""What an adapter says of itself, and what it refuses before anything is stored."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from saga.directive import Directive, registered_kinds
from saga.errors import InvalidInput
from saga.outcome import Fill, Outcome
from saga.policy import Capabilities
from saga.testing.bench import Bench
from saga.testing.promises.promise import Promises

PROMISES = Promises()


class _Stranger(Directive):
    """A directive of a kind that nobody carries out."""

    kind: str = "testing_stranger"


@PROMISES.promise
async def it_says_who_it_is(bench: Bench) -> None:
    """It says who it is, what it carries out, and what it can do."""
    adapter = (await bench.connect()).adapter
    name: object = adapter.name
    if not isinstance(name, str) or not name.strip():
        await bench.broken(f"its name is {name!r}", "`name` is a word for people, never empty.")
    if type(adapter.capabilities) is not Capabilities:
        await bench.broken(
            f"its capabilities are a {type(adapter.capabilities).__name__}",
            "`capabilities` is a `saga.policy.Capabilities`, as the journal keeps it.",
        )
    unknown = sorted(set(adapter.kinds) - set(registered_kinds()))
    if unknown or not adapter.kinds:
        await bench.broken(
            f"its kinds are {sorted(adapter.kinds)}, of which {unknown} are not registered",
            "Import the module that registers a directive before naming its kind in `kinds`.",
        )


@PROMISES.promise
async def it_carries_out_the_inverse_too(bench: Bench) -> None:
    """It carries out what its harness gives, and whatever undoes that."""
    adapter = (await bench.connect()).adapter
    harness = bench.harness
    given = [harness.will_fill(0), harness.will_fill(1), harness.will_be_refused()]
    given += [rests] if (rests := harness.will_rest()) is not None else []
    for directive in given:
        wanted = [directive]
        if directive.can_be_undone:
            wanted.append(directive.inverse(Outcome((Fill("1", directive.amount),))))
        for each in wanted:
            if each.kind not in adapter.kinds:
                await bench.broken(
                    f"kind {each.kind!r} ({each.describe()}) is not among its kinds, "
                    f"{sorted(adapter.kinds)}",
                    "`kinds` holds the kind of every inverse too; else nothing can be undone.",
                )
            try:
                adapter.check(each)
            except InvalidInput as error:
                await bench.broken(
                    f"check refuses to {each.describe()}: {error}",
                    "`check` refuses only what can never be carried out; an inverse has the odd "
                    "amounts that really filled.",
                )


@PROMISES.promise
async def it_refuses_strangers(bench: Bench) -> None:
    """It refuses, at the door, a kind that it does not carry out."""
    adapter = (await bench.connect()).adapter
    try:
        adapter.check(_Stranger(directive_id="EXE_STRANGER"))
    except InvalidInput:
        return
    except Exception as error:
        await bench.broken(
            f"check raised {type(error).__name__} for a directive of a foreign kind",
            "`check` raises `saga.errors.NotServed` (or another `InvalidInput`) and nothing else.",
        )
    await bench.broken(
        "check let a directive of a foreign kind pass",
        "`check` begins by looking at the directive's type, and raises `saga.errors.NotServed`.",
    )


@PROMISES.promise
async def check_asks_nobody(bench: Bench) -> None:
    """Check asks nobody and changes nothing."""
    adapter = (await bench.connect()).adapter
    directive = bench.harness.will_fill(0)
    with _nobody_reached():
        try:
            check: Callable[[Directive], object] = adapter.check
            answer = check(directive)
        except _Asked as error:
            await bench.broken(f"check {error}", _CHECK_ASKS)
    if answer is not None:
        await bench.broken(f"check returned a {type(answer).__name__}", _CHECK_ASKS)
    if await bench.books():
        await bench.broken("check placed an order", _CHECK_ASKS, await bench.books())


_CHECK_ASKS = (
    "`check` is called before a batch is stored, once for each leg, on the event loop: it looks at "
    "the directive and at tables that the adapter holds already. It is no coroutine."
)


class _Asked(BaseException):
    """Somebody was asked; no adapter catches this."""


@contextmanager
def _nobody_reached() -> Iterator[None]:
    """Let nothing go out of this process through Python's sockets."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise _Asked("went out to the network")

    names = ("connect", "connect_ex", "send", "sendall", "sendto")
    kept = {name: socket.socket.__dict__.get(name) for name in names}
    for name in names:
        setattr(socket.socket, name, refuse)
    try:
        yield
    finally:
        for name, method in kept.items():
            if method is None:
                delattr(socket.socket, name)
            else:
                setattr(socket.socket, name, method)
