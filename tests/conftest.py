"""What all tests share: where data lies, what may be missing, and Hypothesis's profiles.

A test that needs the shared data, torch or a GPU is skipped where that is missing, with the reason. Where the
environment variable ``HCSIM_REQUIRE`` names it (``shared``, ``live``, ``gpu``, separated by commas) the test fails.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

os.environ["HCSIM_CACHE"] = "off"  # tests neither fill nor trust the user's cache of traces
os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib, and for the processes that tests start

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "tests" / "bench"

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev"))


def missing(what: str, reason: str) -> None:
    """Skip the running test for `reason`, or fail it where HCSIM_REQUIRE names `what`."""
    required = {name.strip() for name in os.environ.get("HCSIM_REQUIRE", "").split(",")}
    if what in required:
        pytest.fail(f"{reason}, and HCSIM_REQUIRE={os.environ['HCSIM_REQUIRE']} asks for it", pytrace=False)
    pytest.skip(reason)


def shared_folder(variable: str, name: str) -> Path:
    """The folder that the environment variable names, else ../shared/`name` beside the project."""
    given = os.environ.get(variable)
    folder = Path(given) if given else ROOT.parent / "shared" / name
    if not folder.is_dir():
        missing("shared", f"no folder {folder} (set {variable})")
    return folder.resolve()


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture
def shared_traces() -> Path:
    """The folder of the shared traces."""
    return shared_folder("HCSIM_DATA", "traces")


@pytest.fixture
def shared_reference() -> Path:
    """The folder of the shared reference results."""
    return shared_folder("HCSIM_REFERENCE", "reference")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what can be told from a test's place and fixtures, so that -m finds it."""
    for item in items:
        if BENCH in item.path.parents:
            item.add_marker(pytest.mark.bench)
        if {"shared_traces", "shared_reference"}.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.shared)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("live") and importlib.util.find_spec("torch") is None:
        missing("live", "torch is not installed (make setup)")
    if item.get_closest_marker("gpu") and not (Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi")):
        missing("gpu", "no NVIDIA GPU here")
