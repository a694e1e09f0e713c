"""A command that is loaded when it is called, so that no other one waits for it.

The kill switch has to act at once, and what some commands need takes longer to load than it does.
"""

from functools import cached_property
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand


class Later(TyperCommand):
    """Stands for a command in the tree; all but its name and its line is the command's own.

    Args:
        name: of the command.
        place: its module, and what it is called there: a function, or a `typer.Typer` with more.
        line: what `saga --help` says of it.
        acts: its exit status is that of what it did, whatever becomes of its output; one that only
            shows has failed if nobody can read it.
    """

    def __init__(self, name: str, place: str, line: str, *, acts: bool = False) -> None:
        super().__init__(name, help=line)
        self.place = place
        self.acts = acts

    def make_context(self, *args: Any, **named: Any) -> Any:
        """Read the command's own arguments; its context runs the command itself."""
        return self._itself.make_context(*args, **named)

    @property
    def commands(self) -> Any:
        """The commands of a group; nothing else has any."""
        return self._itself.commands

    @cached_property
    def _itself(self) -> Any:
        module, _, name = self.place.partition(":")
        found = getattr(import_module(module), name)
        parent = typer.Typer(rich_markup_mode=None)
        if isinstance(found, typer.Typer):
            parent.add_typer(found, name=self.name)
        else:
            parent.command(self.name)(found)
        (itself,) = typer.main.get_group(parent).commands.values()
        return itself
