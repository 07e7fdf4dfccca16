"""Every file of every configuration group makes its part, and says nothing that the code says already."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hcsim import Experiment, InputError
from hcsim.cli import CONF, build, choices, compose, forced, part
from hcsim.live import Local
from hcsim.parts import checked
from hcsim.sim import Simulated
from tests.conftest import missing, shared_folder

PARTS = ("fleet", "trace", "strategy", "estimator", "executor", "perf")
EVERY = [(group, name) for group in PARTS for name in choices()[group]]
#: A name without a default: `trace.path=` is what the file is for, `data_dir` is a key of the whole configuration.
NOT_DEFAULTS = {("trace", "data_dir"), ("trace", "path")}


def load(group: str, name: str) -> Any:
    return OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"), resolve=False)


def needs_torch(*names: str) -> None:
    if "local" in names and importlib.util.find_spec("torch") is None:
        missing("live", "torch is not installed (make setup)")


#: Fleets, and experiments on them, that are driven by traces which do not ship.
NEED_DATA = {"spot_history"}


def compose_with_data(overrides: list[str], *names: str) -> Any:
    """A configuration; of those that need the shared traces with their folder."""
    if NEED_DATA & set(names):
        overrides = [*overrides, f"data_dir={shared_folder('HCSIM_DATA', 'traces')}"]
    return compose(overrides)


def test_every_group_has_a_choice() -> None:
    found = choices()
    assert all(found[group] for group in PARTS)
    assert set(found) - {"experiment", "hydra", "market"} == set(PARTS)


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_every_file_makes_its_part(group: str, name: str) -> None:
    if group == "executor":
        needs_torch(name)
    config, chosen = compose_with_data([f"{group}={name}"], name)
    assert chosen[group] == name
    made = part(config, group)
    assert dataclasses.is_dataclass(made)
    assert type(made).__dataclass_params__.frozen  # type: ignore[union-attr]


@pytest.mark.parametrize("name", choices()["experiment"])
def test_every_experiment_can_be_built(name: str) -> None:
    needs_torch(name)
    config, chosen = compose_with_data([f"experiment={name}"], name)
    experiment = build(config, chosen)
    assert isinstance(experiment, Experiment)
    assert experiment.names == {group: chosen[group] for group in ("fleet", "trace", "strategy")}


def repeated(node: Any, key: str) -> list[str]:
    """The keys below a node that give a parameter the value of its default."""
    if isinstance(node, list):
        return [found for i, each in enumerate(node) for found in repeated(each, f"{key}.{i}")]
    if not isinstance(node, dict):
        return []
    found = [bad for name, each in node.items() for bad in repeated(each, f"{key}.{name}")]
    if "_target_" in node:
        target = pkgutil.resolve_name(node["_target_"])
        factories = {f.name: f.default_factory for f in dataclasses.fields(target)} if isinstance(target, type) else {}
        for name, parameter in inspect.signature(target).parameters.items():
            default, factory = parameter.default, factories.get(name, dataclasses.MISSING)
            if factory is not dataclasses.MISSING:
                default = factory()
            if name in node and node[name] == default:
                found.append(f"{key}.{name}")
    return found


def test_no_file_repeats_a_default() -> None:
    found = [key for group, name in EVERY for key in repeated(load(group, name), group)]
    assert {tuple(key.split(".")) for key in found} <= NOT_DEFAULTS, found


def test_the_check_for_repeated_defaults_finds_one() -> None:
    pool = {"_target_": "hcsim.model.NodePool", "name": "p", "boot_s": 0.0, "nodes": 1}
    assert repeated({"sites": [{"_target_": "hcsim.model.Site", "pools": [pool]}]}, "fleet") == [
        "fleet.sites.0.pools.0.boot_s"
    ]


def test_every_file_is_one_target() -> None:
    """A file of a part names what it makes, so that nothing else reads the configuration."""
    for group, name in EVERY:
        assert "_target_" in load(group, name), (group, name)
        checked(known(load(group, name)), group)


def known(node: Any) -> Any:
    """A configuration without what is taken from elsewhere."""
    if isinstance(node, dict):
        return {key: known(value) for key, value in node.items() if not str(value).startswith("${")}
    return [known(each) for each in node if not str(each).startswith("${")] if isinstance(node, list) else node


def test_parameters_may_be_given_without_being_in_a_file() -> None:
    assert forced(["strategy.patience_s=1", "seed=2", "trace=swf", "hydra.run.dir=x", "trace.path=a=b"]) == [
        "++strategy.patience_s=1",
        "seed=2",
        "trace=swf",
        "hydra.run.dir=x",
        "++trace.path=a=b",
    ]
    config, _ = compose(["strategy=owned_first", "strategy.patience_s=60", "trace.attributes.deadline_share=0.25"])
    assert part(config, "strategy").patience_s == 60
    attributes = part(config, "trace").attributes
    assert attributes.deadline_share == 0.25
    assert attributes.dataset_share == part(compose([])[0], "trace").attributes.dataset_share > 0


def test_a_part_may_be_a_function_and_have_parts() -> None:
    """What is made need not be a class, and Hydra's own keys are left alone."""
    checked({"_target_": "hcsim.runs.load", "_args_": ["a"], "_convert_": "all"}, "trace")
    checked({"_target_": "builtins.dict", "whatever": 1}, "perf")
    with pytest.raises(InputError, match=r"trace: no parameter 'folder'; did you mean 'folders'"):
        checked({"_target_": "hcsim.runs.read_runs", "folder": "a"}, "trace")


def test_values_are_held_against_their_annotations() -> None:
    pool = {"_target_": "hcsim.model.NodePool", "name": "p", "gpu": "A100", "gpus_per_node": 8, "nodes": 1}
    checked(pool | {"boot_s": 3, "mtbf_s": float("inf"), "name": 7}, "pool")  # an integer is a number, and a name
    for wrong, said in (
        ({"nodes": 1.0}, "pool.nodes is 1.0, expected an integer"),
        ({"nodes": True}, "pool.nodes is True, expected an integer"),
        ({"boot_s": "3 min"}, "pool.boot_s is '3 min', expected a number"),
        ({"gpu": None}, "pool.gpu is None, expected text"),
    ):
        with pytest.raises(InputError) as error:
            checked(pool | wrong, "pool")
        assert str(error.value) == said
    series = {"_target_": "hcsim.series.Series", "time_s": [0], "value": [1]}
    checked(pool | {"price": None, "stock": series}, "pool")  # of what may be None
    for wrong, said in (({"stock": 3}, "pool.stock is 3, expected the parameters of Series"),
                        ({"stock": series | {"values": [1]}}, "pool.stock: no parameter 'values'")):  # fmt: skip
        with pytest.raises(InputError) as error:
            checked(pool | wrong, "pool")
        assert str(error.value).startswith(said)


def test_the_local_experiment_can_be_put_into_simulation() -> None:
    """What the experiment says of its executor is not said to another one; and it can be said once more."""
    for overrides, expected in (
        (["executor=sim"], Simulated()),
        ([], Local(time_scale=10_000)),
        (["executor=local"], Local(time_scale=10_000)),
        (["executor.time_scale=20"], Local(time_scale=20)),
        (["time_scale=20"], Local(time_scale=20)),
    ):
        config, chosen = compose(["experiment=local", "strategy=las", *overrides])
        assert build(config, chosen).executor == expected
    assert part(compose(["executor=local"])[0], "executor") == Local()


@pytest.mark.parametrize("pace", [0.5, 1.0, 2.0, 8.0])
def test_las_preempts_in_the_local_experiment_however_fast_the_machine_is(pace: float) -> None:
    """Job 0 makes way and comes back; simulated, with work that takes ``pace`` times as long as it should."""
    config, chosen = compose(["experiment=local", "strategy=las", "executor=sim"])
    experiment = build(config, chosen)
    jobs = experiment.prepare().jobs
    slower = dataclasses.replace(jobs, duration_s=jobs.duration_s * pace)
    result = dataclasses.replace(experiment, trace=slower).run()
    assert result.summary["jobs_finished"] == 10
    rows = result.log.frame()
    mine = rows[rows["subject"] == 0]["kind"].tolist()
    assert mine.count("STARTED") == 1 + mine.count("PREEMPTED") >= 2


def test_the_configuration_that_is_kept_makes_the_same_experiment(tmp_path: Path) -> None:
    """What a run folder holds is resolved: it needs neither the groups nor the environment."""
    config, chosen = compose(["fleet=lab", "strategy=las", "trace.n=10", "trace.attributes.dataset_share=0", "seed=3"])
    with_hydra = OmegaConf.to_container(config, resolve=False)
    assert isinstance(with_hydra, dict)
    with_hydra.pop("hydra")
    kept = OmegaConf.to_yaml(OmegaConf.create(with_hydra), resolve=True)
    assert "${" not in kept
    first, again = build(config, chosen), build(OmegaConf.create(kept), chosen)  # type: ignore[arg-type]
    assert first == again
