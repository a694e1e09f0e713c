"""Records anew what a step takes: `python -m tests.counted_work`."""

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.counted_work.counted import count
from tests.counted_work.record import RECORD

with TemporaryDirectory() as folder:
    work = asyncio.run(count(Path(folder))).as_json()
RECORD.write_text(json.dumps(work, indent=1) + "\n", encoding="utf-8")
sys.stdout.write(f"a step takes {work}\n")
