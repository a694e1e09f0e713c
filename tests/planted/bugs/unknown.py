# ruff: noqa: E501  (what is quoted is as long as it is)
"""Planted bugs of what is not known: proof of absence, late news, and what a crash leaves."""

from typing import Final

from tests.planted.bug import Bug, Edit

BUGS: Final = (
    Bug(
        "one look-up is proof",
        "An order that is not found once was never accepted.",
        (
            Edit(
                "saga/core.py",
                "if attempt.not_found < MIN_LOOK_UPS or asked_at is None or asked_at < visible_from:",
                "if attempt.not_found < 1:",
            ),
        ),
    ),
    Bug(
        "the visibility window is ignored",
        "Three look-ups are enough, however soon they come.",
        (
            Edit(
                "saga/core.py",
                " or asked_at is None or asked_at < visible_from:",
                ":",
            ),
            Edit(
                "saga/core.py",
                "wait = max(window / (MIN_LOOK_UPS - 1), MIN_LOOK_UP_SPACING)",
                "wait = MIN_LOOK_UP_SPACING",
            ),
        ),
    ),
    Bug(
        "silence is absence",
        "A question that got no answer counts as one that did not find the order.",
        (
            Edit(
                "saga/runner.py",
                "        return (NoAnswer(*where, reason),)\n",
                "        return (NotFound(*where),)\n",
            ),
        ),
    ),
    Bug(
        "a crash means that nothing was sent",
        "What was being sent when the engine died is sent once more, without a question.",
        (
            Edit(
                "saga/fold.py",
                '            _lose(saga, attempt, at, "the engine stopped while it was being sent")\n',
                '            _lose(saga, attempt, at, "the engine stopped while it was being sent")\n'
                "            attempt.not_found, attempt.asked_at = 3, at + timedelta(days=1)\n",
            ),
        ),
    ),
    Bug(
        "a crash means that it was sent",
        "What was being sent when the engine died is waited for, and never looked up.",
        (
            Edit(
                "saga/fold.py",
                "        if attempt.state is AttemptState.SENDING:\n            _lose(saga",
                "        if attempt.state is AttemptState.LOST:\n            _lose(saga",
            ),
        ),
    ),
    Bug(
        "a taken-over owner is dead",
        "The call of an owner that was taken over is not waited for.",
        (Edit("saga/fold.py", "            if event.taken_over:", "            if False:"),),
        harness="-m pytest -q -x tests/core/test_unknown_outcomes.py",
        why="It takes a call of the last owner that is late in just the next one's window; 1,000 seeds hold none.",
    ),
    Bug(
        "unknown is undone on a guess",
        "The undo does not wait until the fate of every forward order is known.",
        (
            Edit(
                "saga/core.py",
                "    if saga.live:  # rule 4: open orders are cancelled first, and their final quantity awaited\n",
                "    if saga.live and not saga.to_undo:\n",
            ),
        ),
    ),
    Bug(
        "what was proven absent is never asked for again",
        "Late truth before the end is not looked for.",
        (
            Edit(
                "saga/core.py",
                "        if attempt.silences < MAX_SILENCES\n    )\n",
                "        if attempt.silences < 0\n    )\n",
            ),
        ),
        harness="-m pytest -q -x tests/core/test_unknown_outcomes.py",
        why="What comes later than its proof of absence is late truth as well; 3,000 seeds judge it.",
    ),
    Bug(
        "a late fill is ignored",
        "A fill of an attempt that was over is noted, and changes nothing.",
        (
            Edit(
                "saga/fold.py",
                "    for fill in event.fills:\n        step.take_effect(fill)\n",
                "    for fill in () if was_over else event.fills:\n        step.take_effect(fill)\n",
            ),
        ),
    ),
    Bug(
        "closed orders are forgotten with the venue",
        "That an order traded is not looked for where the venue forgets what is over.",
        (
            Edit(
                "brokers/broker.py",
                "        if not at_first:\n            return None\n        filled",
                "        if at_first is not None:\n            return None\n        filled",
            ),
        ),
    ),
    Bug(
        "a failed withdrawal is a tombstone",
        "The key counts as buried although nobody knows whether the venue heard of it.",
        (
            Edit(
                "saga/runner.py",
                "buried = entombs and not isinstance(refused, Exception)",
                "buried = entombs",
            ),
            Edit(
                "saga/runner.py",
                "        if isinstance(refused, Exception) and not is_over:\n",
                "        if False:\n",
            ),
        ),
        harness="-m pytest -q -x tests/engine/test_attacks_participants.py::test_an_open_order_whose_withdrawal_fails_is_counted_as_silence",
        why="The model exchange seldom loses a cancel of what it does not know; 780 seeds hold none.",
    ),
    Bug(
        "what was taken cannot vanish",
        "An order that the venue had and no longer knows is called absent.",
        (
            Edit("saga/core.py", "    if attempt.acknowledged:\n", "    if False:\n"),
            Edit(
                "saga/fold.py",
                "        attempt.state is AttemptState.UNKNOWN and not attempt.acknowledged,\n"
                '        f"attempt {attempt.key} is {attempt.state}, and may not be called absent",',
                "        attempt.state is AttemptState.UNKNOWN,\n"
                '        f"attempt {attempt.key} is {attempt.state}, and may not be called absent",',
            ),
            Edit(
                "saga/fold.py",
                "        attempt.state is AttemptState.UNKNOWN and not attempt.acknowledged,\n"
                '        f"attempt {attempt.key} is {attempt.state}, and may not be sent again",',
                "        attempt.state is AttemptState.UNKNOWN,\n"
                '        f"attempt {attempt.key} is {attempt.state}, and may not be sent again",',
            ),
        ),
        harness="-m pytest -q -x tests/core/test_unknown_outcomes.py",
        why="What a venue forgets is found again in its list of trades, before the engine is told.",
    ),
    Bug(
        "a question is asked once",
        "An order that is open is not looked at again.",
        (
            Edit(
                "saga/runner.py",
                "            elif wake_at is None or due < wake_at:\n                wake_at = due\n",
                "",
            ),
        ),
    ),
    Bug(
        "questions wait with the clock",
        "A look-up that was due on a clock that has been put back since waits for that clock.",
        (
            Edit(
                "saga/runner.py",
                "due = ask.not_before if asked_at <= now else now",
                "due = ask.not_before",
            ),
        ),
    ),
    Bug(
        "a lost order is no loss",
        "The interval of a STALE saga counts only what is known.",
        (
            Edit(
                "saga/ledger.py",
                "                high = plus(high, attempt.open_amount)\n",
                "                high = plus(high, ZERO)\n",
            ),
        ),
    ),
)
