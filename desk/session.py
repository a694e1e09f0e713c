"""What every command begins with: the settings, the screen, and how its work is run.

`Session.run` is the one place where a command's asynchronous work is run, with its signals.
"""

import logging
import logging.handlers
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import typer
from anyio import to_thread

from desk.exit_codes import ExitCode
from desk.format import Format
from desk.given import Given
from desk.old_copy import why_gone
from desk.output import Screen
from desk.settings import Configured, configure, configure_anyhow
from desk.signals import until_signal
from saga.errors import InvalidInput, StoreUnusable
from saga.history import History

LOG_BYTES: Final = 5_000_000
LOG_FILES: Final = 3


class Session:
    """One run of the command.

    Args:
        context: the command's context, with what was given before its name.
        home: `--home` of the command; None if it was not given there.
        form: the form of the data.
        settings_matter: settings that cannot be used are refused; else they are warned of, and the
            defaults hold.

    Attributes:
        when_interrupted: how to go on after a signal; said then.
    """

    def __init__(
        self,
        context: typer.Context,
        home: Path | None,
        *,
        as_json: bool = False,
        output: Format | None = None,
        forms: tuple[Format, ...] = tuple(Format),
        settings_matter: bool = True,
    ) -> None:
        if as_json and output not in (None, Format.JSON):
            raise InvalidInput(f"--json and --output {output} contradict each other; give one")
        form = Format.JSON if as_json else output or Format.TABLE
        if form not in forms:
            raise InvalidInput(
                f"--output {form.value} is not known to this command; it has "
                f"{', '.join(each.value for each in forms)}"
            )
        given = context.obj if isinstance(context.obj, Given) else Given()
        find = configure if settings_matter else configure_anyhow
        self.configured: Configured = find(home or given.home, given.config)
        self.screen = Screen(form)
        if self.configured.fault is not None:
            self.screen.say(
                f"WARNING: this goes on without your settings: {self.configured.fault}",
                style="bold red",
            )
        self.when_interrupted: str | None = None
        self._asking = False
        self._log: logging.Handler | None = None
        self._level_before = logging.WARNING

    @property
    def operator(self) -> str:
        """Who acts, where `--by` does not say."""
        return self.configured.settings.operator

    def refuse_without_store(self) -> None:
        """Refuse to go on where there is nothing to be read, or to be halted.

        Raises:
            StoreUnusable: there is no store.
        """
        home = self.configured.home
        if not home.store.exists():
            if (gone := why_gone(home)) is not None:
                raise StoreUnusable(gone)
            raise StoreUnusable(
                f"there is no store in {home.folder}; run a batch first (`saga run FILE`), or name "
                "another folder with --home"
            )

    def history(self) -> AbstractAsyncContextManager[History]:
        """Return the history of the store, to be read beside its owner.

        Raises:
            StoreUnusable: there is none.
        """
        # It brings a kind that a journal may hold; the kill switch cannot wait until it is loaded.
        import portfolio  # noqa: F401

        self.refuse_without_store()
        return History(self.configured.home.store)

    def run(self, work: Callable[[], Awaitable[ExitCode]]) -> None:
        """Run asynchronous work to its end, and leave the command with its exit status.

        Raises:
            Exit: always, with the exit status.
        """
        try:
            code = anyio.run(partial(until_signal, work, self._heard))
        finally:
            self._close_log()
        raise typer.Exit(code)

    def _heard(self) -> None:
        if self._asking:
            self.screen.say("\nNothing was done.")
            return
        self.screen.say("Leaving cleanly; once more stops at once. What is durable stays so.")
        if self.when_interrupted:
            self.screen.say(self.when_interrupted)

    def keep_log(self) -> None:
        """Let the engine's log go into the folder's file; the folder has to be there."""
        handler = logging.handlers.RotatingFileHandler(
            self.configured.home.log, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
        )
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
        )
        self.configured.home.log.chmod(0o600)
        root = logging.getLogger()
        self._level_before = root.level
        root.setLevel(logging.INFO)
        root.addHandler(handler)
        self._log = handler

    def _close_log(self) -> None:
        if self._log is not None:
            root = logging.getLogger()
            root.removeHandler(self._log)
            root.setLevel(self._level_before)
            self._log.close()

    @staticmethod
    def asks(*, yes: bool, no_input: bool) -> bool:
        """Tell whether `confirm` will ask."""
        return not (yes or no_input) and sys.stdin.isatty() and sys.stderr.isatty()

    async def confirm(self, question: str, *, yes: bool, no_input: bool) -> None:
        """Ask on a terminal whether to go on; off a terminal nothing is asked.

        Raises:
            Exit: the answer was no.
        """
        if not self.asks(yes=yes, no_input=no_input):
            return
        # In a thread, so that a signal is heard while the user thinks.
        ask = partial(typer.confirm, question, default=False, err=True)
        self._asking = True
        try:
            agreed = await to_thread.run_sync(ask, abandon_on_cancel=True)
        finally:
            self._asking = False
        if not agreed:
            self.screen.say("Nothing was done.")
            raise typer.Exit(ExitCode.FAILED)
