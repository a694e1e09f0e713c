"""What holds for every test: one event loop, no wall-clock deadlines, nothing skipped in CI.

A test that is skipped shows nothing. On a developer's machine that may be right (no such signal, no
such file system); where CI=true a skip fails the run, because there everything must be there.
"""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

NOTHING_MAY_BE_SKIPPED = os.environ.get("CI", "").lower() == "true"

# Hypothesis judges each example by the wall clock; on a busy machine that says nothing about us.
settings.register_profile("trade-saga", deadline=None, print_blob=True)
settings.load_profile("trade-saga")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio, the backend of the engine (aiosqlite has no other)."""
    return "asyncio"


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    expected_to_fail = hasattr(report, "wasxfail")
    if NOTHING_MAY_BE_SKIPPED and report.outcome == "skipped" and not expected_to_fail:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"CI=true and nothing may be skipped there, but this was: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where CI=true."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skipped module into a failed one where CI=true."""
    report = yield
    _fail_if_skipped(report)
    return report
