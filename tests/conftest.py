"""What a machine lacks is said at the end of the tests, not passed over."""

import pytest

from promptfuse.tables import Table

from .train.report.browser import CHROMIUM

_LACKING = pytest.StashKey[list[str]]()


def pytest_addoption(parser):
    """Tell of the long form."""
    parser.addoption("--long", action="store_true", help="of tests/torture, hours of it")
    parser.addoption("--minutes", type=float, default=10, help="of fuzzing a target, with --long")


def pytest_collection_modifyitems(config, items):
    """Mark tests that cannot run here, and keep their names for the last lines."""
    lacking = [item for item in items if item.get_closest_marker("browser")] if not CHROMIUM else []
    for item in lacking:
        item.add_marker(pytest.mark.skip(reason="needs chromium"))
    config.stash[_LACKING] = [item.nodeid for item in lacking]


def pytest_terminal_summary(terminalreporter, config):
    """Say what torture came to, and what could not run."""
    reports = [
        report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])
    ]
    rows = [
        value
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "torture" and report.when == "call"
    ]
    if rows and config.getoption("--long"):
        terminalreporter.section("torture")
        terminalreporter.line(Table("", ["fault", "times", "outcome"], rows).markdown())
    lacking = config.stash.get(_LACKING, [])
    if lacking:
        terminalreporter.section("could not run here", red=True, bold=True)
        count = f"{len(lacking)} tests of pages" if len(lacking) > 1 else "1 test of pages"
        terminalreporter.line(
            f"could not run: {count}, for want of chromium (apt-get install chromium)", red=True
        )
