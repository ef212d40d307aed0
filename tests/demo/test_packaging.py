"""What goes into the installed package, and what stays in the repository."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
OUTSIDE = {"tests", "docs", "build", "dist", "pf", "site"}


def packages_in_the_repository() -> set[str]:
    found = {"promptfuse"}
    for marker in ROOT.glob("*/**/__init__.py"):
        parts = marker.parent.relative_to(ROOT).parts
        if not parts[0].startswith(".") and parts[0] not in OUTSIDE:
            found.add(".".join(["promptfuse", *parts]))
    return found


def test_every_package_is_shipped_but_the_pretraining() -> None:
    pretraining = {"promptfuse.demo.pretraining"}
    assert pretraining < packages_in_the_repository()
    assert set(SETUPTOOLS["packages"]) == packages_in_the_repository() - pretraining


def test_the_demos_data_files_are_shipped() -> None:
    demo = ROOT / "demo"
    shipped = {
        path
        for pattern in SETUPTOOLS["package-data"]["promptfuse.demo"]
        for path in demo.glob(pattern)
        if path.is_file()
    }
    wanted = {
        path
        for path in demo.rglob("*")
        if path.is_file()
        and path.suffix not in {".py", ".pyc"}
        and "pretraining" not in path.relative_to(demo).parts
    }
    assert shipped == wanted
    assert demo / "words.json" in shipped
