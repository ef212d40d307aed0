"""What a machine lacks is said at the end of the tests, not passed over."""

import pytest

from .train.report.browser import CHROMIUM

_LACKING = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config, items):
    """Mark tests that cannot run here, and keep their names for the last lines."""
    lacking = [item for item in items if item.get_closest_marker("browser")] if not CHROMIUM else []
    for item in lacking:
        item.add_marker(pytest.mark.skip(reason="needs chromium"))
    config.stash[_LACKING] = [item.nodeid for item in lacking]


def pytest_terminal_summary(terminalreporter, config):
    """Say what could not run."""
    lacking = config.stash.get(_LACKING, [])
    if lacking:
        terminalreporter.section("could not run here", red=True, bold=True)
        count = f"{len(lacking)} tests of pages" if len(lacking) > 1 else "1 test of pages"
        terminalreporter.line(
            f"could not run: {count}, for want of chromium (apt-get install chromium)", red=True
        )
