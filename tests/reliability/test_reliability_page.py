"""The page says what the harnesses said, and nothing that anybody typed."""

import pytest

from tests.reliability.figures import kept_figures
from tests.reliability.harness import HARNESSES, Harness
from tests.reliability.page import PAGE, page_with_figures


def test_the_page_is_made_of_the_kept_figures() -> None:
    text = PAGE.path.read_text(encoding="utf-8")
    assert page_with_figures(text) == text, "write it anew: python -m tests.reliability --page"


@pytest.mark.parametrize("harness", HARNESSES, ids=lambda harness: harness.name)
def test_every_harness_was_run_at_its_full_size_and_was_content(harness: Harness) -> None:
    kept = kept_figures(harness)
    assert kept is not None, f"run it: python -m tests.reliability {harness.name}"
    assert kept["content"] is True
    assert harness.shown(kept["told"])


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lost one of its marks"):
        page_with_figures("# Reliability\n")
