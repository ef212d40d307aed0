"""What a machine lacks is said at the end of the tests, not passed over."""

import logging
import os

import pytest

from promptfuse.tables import Table

from .train.report.browser import CHROMIUM

_LACKING = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def ray_nodes():
    """Connect to two Ray nodes of one processor on this machine; the second can be taken away."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_BACKEND_LOG_LEVEL="fatal")
    import ray
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8}
    head["_system_config"] = {**soon, "health_check_failure_threshold": 3}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, object_store_memory=10**8)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


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
