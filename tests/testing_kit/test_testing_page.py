"""The page for authors of adapters: what it shows runs, and its story is the one that is told."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from saga.testing import ONE_LEG
from tests.testing_kit.broken_adapters import RetriesUnderANewId, contract_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing-your-broker.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "own_broker.py"


def _shown(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def _with_one_id(story: str) -> str:
    """The story with the random end of its batch's id written over."""
    return re.sub(r"\b(\d{8}_\d{6}_)[0-9a-z]{8}\b", r"\1k3v9xabc", story)


def test_the_page_shows_the_example_as_it_is() -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    shown = _shown("python")
    assert len(shown) == 2
    assert [block for block in shown if block.strip() not in source] == []


def test_the_example_runs_as_the_page_says() -> None:
    # No setting of ours helps it. The longer plots are run by the paper exchange's test.
    settings = ["-c", os.devnull, "--rootdir", str(ROOT), "-p", "no:cacheprovider", "-W", "error"]
    settings += ["-k", "promise or one"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *settings, str(EXAMPLE)],
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout


def test_the_story_on_the_page_is_the_one_that_is_told(tmp_path: Path) -> None:
    contract = contract_of(RetriesUnderANewId)
    with pytest.raises(pytest.fail.Exception) as failed:
        contract.test_every_call_and_every_answer_disturbed(ONE_LEG, tmp_path)

    (shown,) = _shown("text")
    assert _with_one_id(str(failed.value)).split() == _with_one_id(shown).split()
