"""Which commands there are, what `saga --help` says of each, and where each is when it is called.

The line of each is the first sentence of its own help.
"""

from typing import Any, Final

from typer.core import TyperGroup

from desk.command.later import Later

COMMANDS: Final = (
    Later(
        "demo", "desk.demo.command:demo", "Play the five scenes on real prices, in half a minute."
    ),
    Later(
        "run",
        "desk.command.running:run",
        "Run a batch of orders as a saga, on the PAPER account, and watch it.",
        acts=True,
    ),
    Later("list", "desk.command.looking:list_batches", "List batches, the latest first."),
    Later(
        "show",
        "desk.command.looking:show",
        "Show one batch: its trades, what it waits for, what is in place, what to do now.",
    ),
    Later(
        "events",
        "desk.command.looking:events",
        "Show the journal, record by record; with --json one JSON object a line.",
    ),
    Later(
        "logbook",
        "desk.command.looking:logbook",
        "Show what happened to the engine itself, the latest first: starts, halts, limits, alerts.",
    ),
    Later(
        "portfolio",
        "desk.command.looking:portfolio",
        "Show a portfolio's books: cash, holdings, what is reserved, and whether it is in order.",
    ),
    Later(
        "cancel",
        "desk.command.acting:cancel",
        "Stop a batch: open orders are cancelled, and what filled is undone as its mode says.",
        acts=True,
    ),
    Later(
        "pause",
        "desk.command.acting:pause",
        "Send nothing new for a batch; what is open stays open, and its deadline goes on.",
        acts=True,
    ),
    Later("unpause", "desk.command.acting:unpause", "Let a paused batch go on.", acts=True),
    Later(
        "retry",
        "desk.command.acting:retry",
        "Try again: the rollback of a STALE batch, or the failed trades of one that is over.",
        acts=True,
    ),
    Later(
        "resolve",
        "desk.command.acting:resolve",
        "Close a STALE batch whose left-over exposure you have dealt with by hand.",
        acts=True,
    ),
    Later(
        "halt",
        "desk.command.halting:halt",
        "Stop trading at once: no forward order goes out, now or after a restart.",
        acts=True,
    ),
    Later(
        "reduce",
        "desk.command.trading:reduce",
        "Let only such orders out as bring a holding nearer to zero, and compensations.",
        acts=True,
    ),
    Later(
        "activate",
        "desk.command.trading:activate",
        "Let all orders out again that pass the limits; what waits may then run.",
        acts=True,
    ),
    Later(
        "diagram",
        "desk.command.drawing:diagram",
        "Draw a batch's way through its states, with times and quantities.",
    ),
    Later(
        "check",
        "desk.command.checking:check",
        "Check the store, and compare journal, broker and books: the break report.",
    ),
    Later(
        "doctor",
        "desk.command.checking:doctor",
        "Look the machine over: Python, SQLite, disk, files, settings, the store's owner, clock.",
    ),
    Later(
        "backup",
        "desk.command.keeping:backup",
        "Copy the store as of one instant; it may be in use.",
        acts=True,
    ),
    Later(
        "accept-copy",
        "desk.command.keeping:accept_copy",
        "Go on from a store that is an older copy of itself; "
        "trading is HALTED until it is activated.",
        acts=True,
    ),
    Later(
        "incident",
        "desk.command.acting:incident_app",
        "Late truth: what the broker tells of a batch after its end.",
        acts=True,
    ),
    Later("config", "desk.command.configuring:config_app", "What is set, and where."),
)
ACTING: Final = frozenset(each.name for each in COMMANDS if each.acts)


class Tree(TyperGroup):
    """The group of all commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": {each.name: each for each in COMMANDS}})
