# ruff: noqa: E501  (what is quoted is as long as it is)
"""Planted bugs of running many sagas: turns, restarts, wake-ups, answers, and the end."""

from typing import Final

from tests.planted.bug import Bug, Edit

BUGS: Final = (
    Bug(
        "accepted before it is durable",
        "The client is told that its batch was taken in while that is still being written.",
        (
            Edit(
                "saga/orchestrator.py",
                "            await self.store.append(append)\n",
                "            self._tasks.start_soon(self.store.append, append)\n",
            ),
        ),
    ),
    Bug(
        "shown before it is durable",
        "The new state is shown first, and written then.",
        (
            Edit(
                "saga/runner.py",
                "        await self._append(append)\n        self.row = append.batch_row\n",
                "        self.row = append.batch_row\n        self._around.on_commit(self)\n        await self._append(append)\n",
            ),
        ),
        harness="-m pytest -q -x tests/engine/test_shown_when_durable.py",
        why="Its clients look at what is durable only, and not at the list of what runs.",
    ),
    Bug(
        "a wish is granted before it is durable",
        "The operator hears that the batch is being cancelled, and a crash forgets it.",
        (
            Edit(
                "saga/runner.py",
                "            if events:\n                await self._commit(events, now)\n            for request in self._heard:\n                request.answered.set()\n",
                "            for request in self._heard:\n                request.answered.set()\n            if events:\n                await self._commit(events, now)\n",
            ),
        ),
    ),
    Bug(
        "who is being undone is not resumed",
        "After a restart only what is RUNNING is taken up again.",
        (
            Edit(
                "saga/supervision.py",
                "        if saga.state not in SAGA_AT_REST:\n            self.start(saga, resumed=True)\n",
                "        if saga.state is SagaState.RUNNING:\n            self.start(saga, resumed=True)\n",
            ),
        ),
    ),
    Bug(
        "nobody is resumed",
        "After a restart everything has to be handed in again.",
        (
            Edit(
                "saga/supervision.py",
                "        if saga.state not in SAGA_AT_REST:\n            self.start(saga, resumed=True)\n",
                "        if False:\n            self.start(saga, resumed=True)\n",
            ),
        ),
    ),
    Bug(
        "who waits for a key waits for ever",
        "A batch that was parked on a key is not called when the key is free.",
        (
            Edit(
                "saga/admission.py",
                "            self._holders.pop(key, None)\n            self._call_next(key)\n",
                "            self._holders.pop(key, None)\n",
            ),
        ),
    ),
    Bug(
        "whoever ends keeps his place",
        "What is over still counts as running.",
        (
            Edit(
                "saga/admission.py",
                "        self._held.discard(batch_id)\n        self._running.pop(batch_id, None)\n",
                "        self._held.discard(batch_id)\n",
            ),
        ),
    ),
    Bug(
        "the same id takes any batch",
        "A batch with the id of another is answered as if it were that one.",
        (
            Edit(
                "saga/orchestrator.py",
                "    if same_age == stored.batch and policy == stored.policy:\n",
                "    if same_age is not None:\n",
            ),
        ),
    ),
)
