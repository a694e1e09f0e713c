"""The examples do what they say, as a user would run them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES_OF_THE_EMBEDDING_EXAMPLE = 15


def run(example: str) -> str:
    """Run an example in a process of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / example], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.requirement("D1", "D7")
def test_the_embedding_example_undoes_what_it_filled() -> None:
    printed = run("embedding.py")
    assert printed.startswith("ROLLED_BACK - sell 10 PEP refused")


def test_the_embedding_example_is_what_the_readme_shows_and_is_short() -> None:
    source = (ROOT / "examples" / "embedding.py").read_text()
    tree = ast.parse(source)
    body = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)]
    shown = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    assert shown.group(1).strip() in source
    lines = [line for line in shown.group(1).splitlines() if line.strip()]
    assert len(lines) <= MAX_LINES_OF_THE_EMBEDDING_EXAMPLE
    assert len(body) == 1


@pytest.mark.requirement("D1", "D7")
def test_an_engine_that_is_not_ours_opens_uses_cancels_and_closes_the_orchestrator() -> None:
    assert run("guest_engine.py").splitlines() == [
        "cancelled by the strategy: ROLLED_BACK cancelled",
        "cancelled after the host came back: ROLLED_BACK cancelled",
    ]
