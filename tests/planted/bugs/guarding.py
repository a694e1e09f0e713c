# ruff: noqa: E501  (what is quoted is as long as it is)
"""Planted bugs of what guards: the gate, the trading state, the watcher of trades, the marks."""

from typing import Final

from tests.planted.bug import Bug, Edit

_GATE: Final = "-m pytest -q -x tests/brokers/test_risk_gate.py tests/brokers/test_gate_fails_closed.py tests/scenarios/test_risk_scenarios.py"
_NO_LIMITS: Final = "Its worlds draw no limits."
_STATE: Final = "-m pytest -q -x tests/engine/test_trading_state.py tests/engine/test_gate_and_intake.py tests/engine/test_automatic_halts.py"
_WATCHER: Final = "-m pytest -q -x tests/engine/test_watching_trades.py"
_NO_WATCHER: Final = "Its worlds tell of news by keys, and watch no list of trades."
_MARK: Final = "-m pytest -q -x tests/store/test_high_water_mark.py"
_NO_COPIES: Final = (
    "Its crashes lose what was not synced, and put no old copy in the place of a file."
)

BUGS: Final = (
    Bug(
        "undoing eats the orders' allowance",
        "A compensation is counted with the forward orders.",
        (
            Edit(
                "brokers/risk/gate.py",
                '                self._compensations,\n                ("max_compensations_per_second"',
                '                self._orders,\n                ("max_compensations_per_second"',
            ),
        ),
        harness=_GATE,
        why=_NO_LIMITS,
    ),
    Bug(
        "what is refused counts as sent",
        "An order that a limit held back goes on counting against the others.",
        (
            Edit(
                "brokers/risk/gate.py",
                "        if refusal is not None:\n            self.withheld(attempt)\n        return refusal\n\n    async def _judge(\n",
                "        return refusal\n\n    async def _judge(\n",
            ),
        ),
        harness=_GATE,
        why=_NO_LIMITS,
    ),
    Bug(
        "a whole batch is judged at the door alone",
        "Limits that were lowered since do not hold for what a batch comes to.",
        (
            Edit(
                "brokers/risk/gate.py",
                "                await self._judge_whole(batch, now)\n                or (await self._judge_order(order, now))[1]\n",
                "                (await self._judge_order(order, now))[1]\n",
            ),
        ),
        harness=_GATE,
        why=_NO_LIMITS,
    ),
    Bug(
        "twins pass",
        "The same order of another batch is not held back.",
        (
            Edit(
                "brokers/risk/gate.py",
                "                or self._duplicate(order, batch)\n",
                "",
            ),
        ),
        harness=_GATE,
        why=_NO_LIMITS,
    ),
    Bug(
        "a restart gives a fresh allowance",
        "What went out before the restart is not counted.",
        (
            Edit(
                "brokers/risk/gate.py",
                "        (self._orders if is_forward else self._compensations).take(elapsed)\n",
                "",
            ),
        ),
        harness=_GATE,
        why=_NO_LIMITS,
    ),
    Bug(
        "reducing goes through zero",
        "An order that is larger than the holding passes, as it begins by lowering it.",
        (
            Edit(
                "brokers/risk/gate.py",
                "        if plus(order.quantity, under_way) > max(room, ZERO):\n",
                "        if room <= ZERO:\n",
            ),
        ),
        harness=_GATE,
        why=_NO_LIMITS,
    ),
    Bug(
        "reducing forgets what is under way",
        "Two orders at once each lower the same holding.",
        (
            Edit(
                "brokers/risk/gate.py",
                "plus(is_open, self._passed_lately(attempt.key, order))",
                "is_open",
            ),
        ),
        harness=_GATE,
        why=_NO_LIMITS,
    ),
    Bug(
        "what the gate does not know passes",
        "A directive that trades, and is no order, is none of the gate's business.",
        (
            Edit(
                "brokers/risk/gate.py",
                "        if directive.direction == 0 or self.terms == RiskLimits():\n            return None\n",
                "        if directive:\n            return None\n",
            ),
        ),
        harness=_GATE,
        why=_NO_LIMITS,
    ),
    Bug(
        "a gate that is too slow lets pass",
        "No answer in time is no objection.",
        (
            Edit(
                "saga/trading.py",
                "        if isinstance(answer, TimeoutError):\n            return Refusal(\n",
                "        if isinstance(answer, TimeoutError):\n            return None\n        if answer is self:\n            return Refusal(\n",
            ),
        ),
        harness=_GATE,
        why=_NO_LIMITS,
    ),
    Bug(
        "the brake counts every start",
        "Clean starts, one after the other, halt trading.",
        (
            Edit(
                "saga/trading.py",
                "            and not record.entry.clean\n",
                "",
            ),
        ),
        harness=_STATE,
        why="Its engines run without the brake, which would end every one of its worlds.",
    ),
    Bug(
        "what was told late is called known",
        "A trade of an order that a journal knows is taken for one that it knows.",
        (
            Edit(
                "brokers/watcher.py",
                "    return (key, trade.fill_id) in known.told\n",
                "    return any(key == each for each, _ in known.told)\n",
            ),
        ),
        harness=_WATCHER,
        why=_NO_WATCHER,
    ),
    Bug(
        "one batch that cannot be compared ends the look",
        "What stands behind it in the list is not compared any more.",
        (
            Edit(
                "brokers/watcher.py",
                "                    self._look_later(trades)\n        return tuple(found)\n",
                "                    self._look_later(trades)\n                break\n        return tuple(found)\n",
            ),
        ),
        harness=_WATCHER,
        why=_NO_WATCHER,
    ),
    Bug(
        "a trade is given up at the first look",
        "A broker that lists a trade before it tells of it by key is not asked again.",
        (
            Edit(
                "brokers/watcher.py",
                "            if looks >= MAX_LOOKS:\n",
                "            if looks:\n",
            ),
        ),
        harness=_WATCHER,
        why=_NO_WATCHER,
    ),
    Bug(
        "commits are not marked",
        "The mark beside the store stays where the last start left it.",
        (
            Edit(
                "saga/store/marked.py",
                "    mark.note_journal(committed.end, now)\n",
                "",
            ),
        ),
        harness=_MARK,
        why=_NO_COPIES,
    ),
    Bug(
        "another journal of the same length passes",
        "Only the number of the last record is compared with the mark, not its digest.",
        (
            Edit(
                "saga/store/mark.py",
                "        if noted.number and _digest(connection, table, noted.number) != noted.digest:\n",
                "        if not table:\n",
            ),
        ),
        harness=_MARK,
        why=_NO_COPIES,
    ),
)
