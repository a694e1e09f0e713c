"""`python -m tests.scenarios.make_golden NAME`: keep a store of the present version for ever.

To be run once for each release, and never again for the same one: what it made must replay equal
in every later version (scenario D15).
"""

import asyncio
import gzip
import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from saga.outcome import Report
from saga.participant import Attempt
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on, sell
from tests.scenarios.test_store_scenarios import GOLDEN, PATIENCE, told_by


async def _refuse(_: Attempt) -> Report:
    return Report(True, (), "no such symbol", None)


async def _make(folder: Path) -> None:
    """Run a batch that completes, one that is rolled back, and one that ends stale."""
    venue = LyingVenue()
    venue.on_send["BAD"] = _refuse

    async def refuse_to_undo(attempt: Attempt) -> Report:
        directive = attempt.directive
        stuck = attempt.purpose != "forward" and directive.subject == "STUCK"
        return await _refuse(attempt) if stuck else await truth(attempt)

    async with engine_on(folder, venue) as engine:
        await engine.run(batch(buy("KO"), sell("PEP")), timeout=PATIENCE)
        await engine.run(batch(buy("KO"), buy("BAD")), timeout=PATIENCE)
        truth, venue.send = venue.send, refuse_to_undo  # type: ignore[method-assign]
        await engine.run(batch(buy("STUCK"), buy("BAD")), timeout=PATIENCE)


def main(name: str) -> None:
    """Make the store and note what it says."""
    GOLDEN.mkdir(exist_ok=True)
    target = GOLDEN / f"{name}.db.gz"
    if target.exists():
        raise SystemExit(f"{target} is there already, and is kept for ever; give another name")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "saga.db"
        asyncio.run(_make(Path(folder)))
        with closing(sqlite3.connect(path)) as file:
            file.execute("VACUUM")
        target.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        told = asyncio.run(told_by(path))
    text = json.dumps(told, indent=1, ensure_ascii=False)
    target.with_name(f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
