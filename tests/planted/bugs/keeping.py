# ruff: noqa: E501  (what is quoted is as long as it is)
"""Planted bugs of the store and the books: the fence, failed writes, and what is booked."""

from typing import Final

from tests.planted.bug import Bug, Edit

BUGS: Final = (
    Bug(
        "the epoch is forgotten",
        "Whoever owned the store once may write for ever.",
        (
            Edit(
                "saga/store/journal.py",
                "    with writing(connection):\n        check_epoch(connection, epoch)\n        end = journal_end",
                "    with writing(connection):\n        end = journal_end",
            ),
        ),
    ),
    Bug(
        "every owner has the same epoch",
        "The epoch is taken over with the store.",
        (
            Edit(
                "saga/store/ownership.py",
                "epoch = max(beyond, 0 if last is None else last.epoch) + 1\n",
                "epoch = max(beyond, 1 if last is None else last.epoch)\n",
            ),
        ),
    ),
    Bug(
        "a late send is not fenced",
        "A process that was stopped between its commit and its send does not look who owns the store.",
        (
            Edit(
                "saga/runner.py",
                "            await self._around.store.verify_owner()\n",
                "            pass\n",
            ),
        ),
        harness="-m pytest -q -x tests/engine/test_fences_and_timeouts.py",
        why="An owner is seldom stopped just between its commit and its send; 1,000 seeds hold none.",
    ),
    Bug(
        "an old answer about the fence will do",
        "The answer that this process is the owner is believed however long it was under way.",
        (
            Edit(
                "saga/runner.py",
                "            if clock.elapsed() - begun <= FENCE_ANSWER_SECONDS:\n",
                "            if begun:\n",
            ),
        ),
        harness="-m pytest -q -x tests/simulation/regressions/test_verified_too_long_ago.py",
        why="It takes a slow disk and a frozen owner at once; one seed in 27,000 held that.",
    ),
    Bug(
        "the owner is never refused",
        "A second engine on the same file takes it over without being told to.",
        (
            Edit(
                "saga/store/ownership.py",
                "take_over or refuse_while_held(connection, processes, now, locked)",
                "take_over",
            ),
        ),
        harness="-m pytest -q -x tests/store/test_store_owners.py",
        why="Whoever starts beside a living owner in the simulation means to take over.",
    ),
    Bug(
        "a failed write is tried again",
        "A store whose disk failed goes on as if nothing had happened.",
        (
            Edit(
                "saga/store/sqlite.py",
                '        self._poison = f"{opened.place}: {error}"\n        return StorePoisoned(self._poison)\n',
                '        return StorePoisoned(f"{opened.place}: {error}")\n',
            ),
            Edit(
                "saga/runner.py",
                "            except StoreBusy as error:\n",
                "            except StoreError as error:\n",
            ),
        ),
    ),
    Bug(
        "a busy store has written",
        "That another process holds the lock is taken for success.",
        (
            Edit(
                "saga/runner.py",
                '                _LOG.warning("the next record of %s waits: %s", self.batch_id, error)\n',
                "                return 0\n",
            ),
        ),
    ),
    Bug(
        "a fill may be told twice",
        "Nobody looks whether a fill is known already.",
        (
            Edit(
                "saga/core.py",
                "        if fill.fill_id not in attempt.fill_ids:\n",
                "        if True:\n",
            ),
            Edit(
                "saga/fold.py",
                "        if fill.fill_id in attempt.fill_ids:  # S9\n",
                "        if False:\n",
            ),
        ),
    ),
    Bug(
        "fees are not booked",
        "The cash of a trade is its price, and nothing else.",
        (
            Edit(
                "portfolio/projection.py",
                "        cash = minus(ZERO, fill.fee)\n",
                "        cash = ZERO\n",
            ),
        ),
    ),
    Bug(
        "an undo is not booked",
        "The books know only of the way forward.",
        (
            Edit(
                "portfolio/projection.py",
                "    for fill in event.fills:\n        _book_fill(",
                "    for fill in event.fills if event.purpose is Purpose.FORWARD else ():\n        _book_fill(",
            ),
        ),
    ),
    Bug(
        "the books follow in a commit of their own",
        "What is refused by the books of one batch is written to its journal all the same.",
        (
            Edit(
                "saga/store/journal.py",
                '            connection.execute("ROLLBACK TO append")\n',
                "",
            ),
        ),
    ),
    Bug(
        "what was reserved stays reserved",
        "The end of a batch sets nothing free.",
        (
            Edit(
                "portfolio/booking.py",
                '    connection.execute("DELETE FROM portfolio_reservations WHERE batch = ?", (batch_id,))\n',
                "",
            ),
        ),
    ),
    Bug(
        "late truth is not booked",
        "What is filled or busted after the end changes no books.",
        (Edit("portfolio/projection.py", "    LateTruth: _book_report,\n", ""),),
    ),
    Bug(
        "views lag behind",
        "The row of a batch is written as it was before its last records.",
        (
            Edit(
                "saga/runner.py",
                "        await self._append(append)\n",
                "        await self._append(replace(append, batch_row=self.row))\n",
            ),
        ),
    ),
    Bug(
        "a commit need not reach the disk",
        "synchronous=NORMAL is faster, and a power failure is rare.",
        (
            Edit(
                "saga/store/database.py",
                '    ("synchronous", "FULL", _FULL),\n',
                '    ("synchronous", "NORMAL", 1),\n',
            ),
        ),
        harness="-m pytest -q -x tests/power_loss",
        why="The simulated disk keeps or loses whole commits as the settings promise.",
    ),
)
