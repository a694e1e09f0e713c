# ruff: noqa: E501  (what is quoted is as long as it is)
"""Planted bugs of the way back: what is undone, how much of it, when, and what is told of it."""

from typing import Final

from tests.planted.bug import Bug, Edit

_UNDO_LEFT = (
    "Intended(step.position, Purpose.COMPENSATION, number, step.left_to_undo)",
    "Intended(step.position, Purpose.COMPENSATION, number, step.directive.amount)",
)

BUGS: Final = (
    Bug(
        "targets are undone instead of fills",
        "The undo sells what was to be bought, not what was bought.",
        (
            Edit("saga/core.py", *_UNDO_LEFT),
            Edit("saga/fold.py", "if not event.amount == left > 0:", "if not event.amount > 0:"),
        ),
    ),
    Bug(
        "each try undoes all again",
        "A second compensation is for everything, and not for what is left.",
        (
            Edit(
                "saga/core.py",
                _UNDO_LEFT[0],
                "Intended(step.position, Purpose.COMPENSATION, number, step.done)",
            ),
            Edit("saga/fold.py", "if not event.amount == left > 0:", "if not event.amount > 0:"),
        ),
    ),
    Bug(
        "a cancelled batch is not undone",
        "A cancel stops a batch and leaves what it did.",
        (
            Edit(
                "saga/core.py",
                "    if stop and saga.undoes:\n",
                "    if stop and saga.undoes and saga.cancel is None:\n",
            ),
        ),
    ),
    Bug(
        "a cancel is an end",
        "Once the cancel is answered, nothing more can have been filled.",
        (
            Edit(
                "saga/runner.py",
                "        is_over = isinstance(told, Report) and told.final\n",
                "        if ask.question is Question.WITHDRAW and refused is None:\n"
                "            told = Report(True, tuple(ask.attempt.fills), 'cancelled')\n"
                "        is_over = isinstance(told, Report) and told.final\n",
            ),
        ),
    ),
    Bug(
        "open orders are only watched",
        "The undo waits for open orders, but nobody cancels them.",
        (
            Edit(
                "saga/core.py",
                "question = Question.WITHDRAW if withdraw and capabilities.cancel else Question.LOOK_UP\n",
                "question = Question.LOOK_UP\n",
            ),
        ),
        harness="-m pytest -q -x tests/core/test_stopping.py",
        why="What is open at the model exchange expires within a minute and a half, and all comes to rest.",
    ),
    Bug(
        "an undo that failed is an undo",
        "What cannot be undone is left out of the account, and the batch is ROLLED_BACK.",
        (
            Edit(
                "saga/core.py",
                "    if saga.stuck or saga.lost:\n        return Decision((Abandoned",
                "    if saga.lost:\n        return Decision((Abandoned",
            ),
            Edit(
                "saga/fold.py",
                "not (saga.live or saga.lost or saga.stuck or saga.to_undo),",
                "not (saga.live or saga.lost),",
            ),
        ),
    ),
    Bug(
        "what is lost is rolled back",
        "An order whose fate is unknown for ever counts as one that did nothing.",
        (
            Edit(
                "saga/core.py",
                "    if saga.stuck or saga.lost:\n        return Decision((Abandoned",
                "    if saga.stuck:\n        return Decision((Abandoned",
            ),
            Edit(
                "saga/fold.py",
                "not (saga.live or saga.lost or saga.stuck or saga.to_undo),",
                "not (saga.live or saga.stuck or saga.to_undo),",
            ),
        ),
    ),
    Bug(
        "nothing is left over",
        "A STALE saga says that it holds nothing.",
        (
            Edit(
                "saga/core.py",
                "Decision((Abandoned(_residue(saga), saga.exposures()),))",
                "Decision((Abandoned(_residue(saga), ()),))",
            ),
        ),
    ),
    Bug(
        "the undo is tried for ever",
        "Nobody counts how often an undo was refused.",
        (
            Edit(
                "saga/core.py",
                "    if spent or absences(step.undo_round) >= MAX_ABSENCES:\n",
                "    if False:\n",
            ),
        ),
    ),
    Bug(
        "an inverse is the same again",
        "The undo of a buy buys.",
        (
            Edit(
                "brokers/orders.py",
                "        return self._counterpart_of(outcome, Sell)\n",
                "        return self._counterpart_of(outcome, Buy)\n",
            ),
        ),
    ),
    Bug(
        "an undo has a limit",
        "The undo is sent with the price limit of the order that it undoes.",
        (
            Edit(
                "brokers/broker.py",
                "            limit_price=order.limit_price,\n",
                "            limit_price=order.limit_price or order.reference_price,\n",
            ),
        ),
    ),
    Bug(
        "a retry forgets what was lost",
        "When an operator has the rollback tried again, lost orders are not looked up.",
        (
            Edit(
                "saga/fold.py",
                "        saga.live[attempt.key] = attempt\n    saga.lost.clear()\n",
                "        attempt.state = AttemptState.OVER\n    saga.lost.clear()\n",
            ),
        ),
        harness="-m pytest -q -x tests/core/test_unknown_outcomes.py",
        why="Few seeds retry a saga that has lost an order; 1,000 hold none whose order is found then.",
    ),
)
