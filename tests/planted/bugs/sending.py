# ruff: noqa: E501  (what is quoted is as long as it is)
"""Planted bugs of the way forward: intents, keys, amounts, and what a refusal is."""

from typing import Final

from tests.planted.bug import Bug, Edit

_COMMIT = """            if events:
                await self._commit(events, now)
            for request in self._heard:
"""
_SEND_ALL = """            for event in events:
                if isinstance(event, Intended | SentAgain) and not self._stopping:
                    self._send(event, calls, fenced_from)
"""

BUGS: Final = (
    Bug(
        "commit after send",
        "Orders go out as soon as they are decided, and the intent is written behind them.",
        (
            Edit(
                "saga/runner.py",
                _SEND_ALL + "            if self._requests or self._answers:",
                "            if self._requests or self._answers:",
            ),
            Edit(
                "saga/runner.py",
                _COMMIT,
                _SEND_ALL + "            await anyio.lowlevel.checkpoint()\n" + _COMMIT,
            ),
        ),
    ),
    Bug(
        "no intent is committed",
        "An intent that stands alone is not worth a commit of its own, somebody thought.",
        (
            Edit(
                "saga/runner.py",
                _COMMIT,
                """            if events and not all(isinstance(event, Intended) for event in events):
                await self._commit(events, now)
            for request in self._heard:
""",
            ),
        ),
    ),
    Bug(
        "random client order id",
        "From the second attempt on the venue is given an id that nobody can derive after a crash.",
        (
            Edit(
                "brokers/broker.py",
                "            client_order_id=attempt.key,\n            symbol=order.symbol,",
                "            client_order_id=attempt.key\n"
                "            if attempt.number == 1 and attempt.purpose.value == 'forward'\n"
                "            else f\"{attempt.key[:-2]}{__import__('secrets').token_hex(3)}\",\n"
                "            symbol=order.symbol,",
            ),
        ),
    ),
    Bug(
        "retry with a new id",
        "A call that times out is made again under another id, as every trading robot does once.",
        (
            Edit(
                "brokers/broker.py",
                "        except OrderRefused as refusal:\n            return refusal_report(str(refusal))\n",
                "        except OrderRefused as refusal:\n            return refusal_report(str(refusal))\n"
                "        except OutcomeUnknown:\n"
                '            again = replace(request, client_order_id=f"{attempt.key}1")\n'
                "            answer = replace(await self.place_order(again), client_order_id=attempt.key)\n",
            ),
        ),
    ),
    Bug(
        "send again under the same id",
        "A call that times out is made again at once; the venue will know the id, surely.",
        (
            Edit(
                "saga/runner.py",
                "            lambda: participant.send(attempt), seconds, partial(named, participant, attempt)\n        )\n",
                "            lambda: participant.send(attempt), seconds, partial(named, participant, attempt)\n        )\n"
                "        if isinstance(result, TimeoutError):\n"
                "            result = await answer_of(\n"
                "                lambda: participant.send(attempt), seconds, partial(named, participant, attempt)\n"
                "            )\n",
            ),
        ),
    ),
    Bug(
        "timeout is a refusal",
        "No answer is taken for a no.",
        (
            Edit(
                "saga/runner.py",
                "            return (AnswerLost(*where, reason),)\n",
                "            return observe(attempt, Report(True, (), reason))\n",
            ),
        ),
    ),
    Bug(
        "every retry is for the whole amount",
        "What was filled before the retry is bought a second time.",
        (
            Edit(
                "saga/core.py",
                "len(step.forward) + 1, step.rest))",
                "len(step.forward) + 1, step.directive.amount))",
            ),
            Edit("saga/fold.py", "if not event.amount == left > 0:", "if not event.amount > 0:"),
        ),
    ),
    Bug(
        "a part is enough for an atomic batch",
        "A partial fill is no failure where nothing short of the whole counts.",
        (
            Edit(
                "saga/fold.py",
                "elif saga.is_atomic or step.state is StepState.REFUSED:",
                "elif step.state is StepState.REFUSED:",
            ),
        ),
    ),
    Bug(
        "a retry waits a day with the clock",
        "A backoff is believed even where the clock was put back behind it.",
        (Edit("saga/core.py", "if now < due <= now + longest:", "if now < due:"),),
    ),
    Bug(
        "attempts are not counted",
        "A refused order is sent again for ever.",
        (
            Edit(
                "saga/fold.py",
                "if rest > 0 and tries < saga.max_attempts(step) and never_through < MAX_ABSENCES:",
                "if rest > 0:",
            ),
        ),
    ),
    Bug(
        "whoever has answered once is never asked again",
        "A call about an attempt counts as under way for ever, so that no other is begun.",
        (
            Edit(
                "saga/runner.py",
                "        self._busy.discard(attempt.key)\n        new = self._events_of(answer)\n",
                "        new = self._events_of(answer)\n",
            ),
        ),
    ),
    Bug(
        "the order of another saga is believed",
        "Whatever the venue answers is taken to be about the order that was asked about.",
        (
            Edit(
                "brokers/reports.py",
                '    if answer.client_order_id != key:\n        raise _garbage(key, f"it tells of order {_shown(answer.client_order_id)}")\n',
                "",
            ),
            Edit(
                "brokers/reports.py",
                "    if not belongs_to(state, request):\n        raise KeyTaken(\n",
                "    if False:\n        raise KeyTaken(\n",
            ),
            Edit(
                "brokers/reports.py",
                '    if not belongs_to(state, request):\n        raise _garbage(request.client_order_id, f"it tells',
                '    if False:\n        raise _garbage(request.client_order_id, f"it tells',
            ),
        ),
        harness="-m pytest -q -x tests/brokers/test_believed_answers.py",
        why="The model exchange confuses numbers and names, but never tells of a real other order.",
    ),
)
