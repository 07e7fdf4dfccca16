"""Hashes of what a result depends on: they move when it does, and only then."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import inf, nan
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hcsim import Experiment, Plan, Strategy, View
from hcsim.sim import Simulated, Simulation
from hcsim.sources import modules_in, plain, source_sha256
from hcsim.strategies.fifo import Fifo
from hcsim.strategies.las import Las
from hcsim.strategies.srtf import Srtf
from hcsim.strategy import strategy_sha256
from tests.worlds import jobs, owned

FILES = {
    "main.py": "import json\nimport numpy\nimport pack.inner.leaf\nfrom beside import helper\n",
    "beside.py": "def helper():\n    from late import never\n    import broken\n",
    "late.py": "import main\n",
    "broken.py": "def (\n",
    "typed.py": "x = 1\n",
    "unused.py": "x = 1\n",
    "pack/__init__.py": "from . import sibling\nimport typing\nif typing.TYPE_CHECKING:\n    import typed\n",
    "pack/sibling.py": "from .inner import leaf as other\n",
    "pack/inner/__init__.py": "",
    "pack/inner/leaf.py": "from ..cousin import x\n",
    "pack/cousin.py": "x = 1\n",
    "pack/stranger.py": "x = 1\n",
}
COUNTED = {"main.py", "beside.py", "late.py", "broken.py", "pack/__init__.py", "pack/sibling.py"}
COUNTED |= {"pack/inner/__init__.py", "pack/inner/leaf.py", "pack/cousin.py"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules of a user's own, some of which import each other; none of them stays loaded."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("main", "beside", "late", "pack")]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.mark.parametrize("loaded", [False, True])
def test_the_hash_is_of_the_files_that_are_imported_and_of_no_other(folder: Path, loaded: bool) -> None:
    if loaded:
        sys.modules["broken"] = ModuleType("broken")
        importlib.import_module("main")
        del sys.modules["broken"]
    before = source_sha256("main")
    moved = set()
    for name, text in FILES.items():
        (folder / name).write_text(text + "# changed\n")
        forget()
        if source_sha256("main") != before:
            moved.add(name)
        (folder / name).write_text(text)
        forget()
    assert moved == COUNTED
    assert source_sha256("main") == before


def test_what_is_loaded_is_hashed_as_it_was_loaded(folder: Path) -> None:
    """A file that is changed while a process runs does not change what that process does."""
    importlib.import_module("pack.cousin")
    before = source_sha256("pack.cousin")
    (folder / "pack" / "cousin.py").write_text("x = 2\n")
    assert source_sha256("pack.cousin") == before
    forget()
    assert source_sha256("pack.cousin") != before


HASHES = """
import json
from hcsim import Experiment, Jobs
from hcsim.strategies.fifo import Fifo
from hcsim.strategies.srtf import Srtf
from hcsim.model import Fleet, NodePool, Site
fleet = Fleet((Site("a", (NodePool("p", "A100", 1, 1),)),))
out = {}
for strategy in (Fifo(), Srtf()):
    found = Experiment(fleet, Jobs.build(arrival_s=[0.0], duration_s=[1.0]), strategy)
    out[strategy.name] = {k: v for k, v in found.identity(found.prepare()).items() if k.endswith("sha256")}
print(json.dumps(out))
"""


@pytest.mark.slow
def test_hashes_move_with_the_files_of_hcsim(tmp_path: Path, project_root: Path) -> None:
    """In a copy of the package: planning belongs to the strategies that plan, metrics to the run, reports to nobody."""
    copy = tmp_path / "hcsim"
    shutil.copytree(project_root / "hcsim", copy, ignore=shutil.ignore_patterns("__pycache__"))

    def hashes() -> dict[str, dict[str, str]]:
        done = subprocess.run([sys.executable, "-c", HASHES], cwd=tmp_path, capture_output=True, text=True, check=True)
        found: dict[str, dict[str, str]] = json.loads(done.stdout)
        return found

    before = hashes()
    for name, expected in {
        "report.py": set(),
        "strategies/fifo.py": {("fifo", "strategy_sha256")},
        "planning/preemption.py": {("srtf", "strategy_sha256")},
        "metrics.py": {("fifo", "code_sha256"), ("srtf", "code_sha256")},
        "plan.py": {(s, f"{k}_sha256") for s in ("fifo", "srtf") for k in ("strategy", "code")},
    }.items():
        text = (copy / name).read_text()
        (copy / name).write_text(text + "# changed\n")
        after = hashes()
        assert {(s, k) for s in before for k in before[s] if after[s][k] != before[s][k]} == expected, name
        (copy / name).write_text(text)


def test_the_hash_of_a_strategy_is_of_its_code_and_parameters() -> None:
    assert strategy_sha256(Fifo()) == strategy_sha256(Fifo()) != strategy_sha256(Las())
    assert strategy_sha256(Las()) != strategy_sha256(Las(depth=5))
    assert strategy_sha256(Las(threshold_gpu_s=inf)) != strategy_sha256(Las(threshold_gpu_s=1e308))


@dataclass(frozen=True)
class Composed(Strategy):
    """A strategy of parts."""

    inner: Strategy
    score: Any = None

    def decide(self, view: View) -> Plan:
        raise NotImplementedError


def down(world: Simulation) -> Any:
    yield world.timeout(1.0)


def up(world: Simulation) -> Any:
    yield world.timeout(2.0)


def test_parts_and_functions_of_a_strategy_count() -> None:
    """By what they are, not by where they lie in memory; and with the files that they come from."""
    assert strategy_sha256(Composed(Las())) == strategy_sha256(Composed(Las()))
    hashes = {strategy_sha256(Composed(each)) for each in (Fifo(), Las(), Las(depth=1), Srtf())}
    assert len(hashes) == 4
    assert strategy_sha256(Composed(Fifo(), down)) != strategy_sha256(Composed(Fifo(), up))
    assert modules_in(Composed(Las(), partial(down, 3))) == {__name__, "hcsim.strategies.las", "builtins"} - {
        "builtins"
    }


def test_a_class_without_a_file_is_hashed_by_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook: the module has no file, and the class is what inspect finds."""
    found = strategy_sha256(Composed(Fifo()))
    monkeypatch.delattr(sys.modules[__name__], "__file__")
    monkeypatch.setattr("inspect.getsource", lambda cls: "class Composed: one")
    one = strategy_sha256(Composed(Fifo()))
    monkeypatch.setattr("inspect.getsource", lambda cls: "class Composed: two")
    assert len({found, one, strategy_sha256(Composed(Fifo()))}) == 3


def test_plain_data() -> None:
    value = {"a": (1, inf, nan), "b": np.array([1.5, -inf]), "c": frozenset({"y", "x"}), 4: None, "d": np.int64(3)}
    assert plain(value) == {"a": [1, "inf", "nan"], "b": [1.5, "-inf"], "c": ["x", "y"], "4": None, "d": 3}
    assert plain(Las(depth=2)) == {"type": "hcsim.strategies.las.Las", "threshold_gpu_s": 18000.0, "depth": 2}
    assert plain([down, Las]) == [f"{__name__}.down", "hcsim.strategies.las.Las"]
    assert plain(partial(down, 3, x=4)) == {
        "type": "partial", "of": f"{__name__}.down", "args": [3], "with": {"x": 4}
    }  # fmt: skip
    assert plain(threading.Event().__class__) == "threading.Event"
    assert plain(object()) == "builtins.object"  # its repr is an address
    json.dumps(plain(value), allow_nan=False)


def test_an_experiment_is_told_apart_by_all_that_it_is_made_of() -> None:
    base = Experiment(owned(), jobs((0.0, 9.0, 1)), Srtf())

    def identity(experiment: Experiment) -> dict[str, Any]:
        return experiment.identity(experiment.prepare())

    before = identity(base)
    assert identity(base) == before == json.loads(json.dumps(before))
    for change, key in (
        ({"executor": Simulated(until_s=9.0)}, "executor_params"),
        ({"executor": Simulated(processes=(down,))}, "executor_params"),
        ({"perf": replace(base.perf, scaling=0.5)}, "perf"),
        ({"estimator": replace(base.estimator, sigma=0.1)}, "estimator"),  # type: ignore[type-var]
        ({"trace": jobs((0.0, 9.0, 1), restart_s=[1.0])}, "jobs_sha256"),
        ({"trace": jobs((0.0, 9.0, 1), tenants=("x",))}, "jobs_sha256"),
        ({"fleet": owned(repair_s=1.0)}, "fleet_sha256"),
    ):
        after = identity(replace(base, **change))  # type: ignore[arg-type]
        assert key in {name for name in before if after[name] != before[name]} <= {key, "knowledge", "code_sha256"}
    one, two = (identity(replace(base, executor=Simulated(processes=(p,)))) for p in (down, up))
    assert one["executor_params"] != two["executor_params"]
    assert one["code_sha256"] != before["code_sha256"]  # the file of the user's process is part of the world
