"""What the schema of jobs takes, and what jobs may hold, are one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsim import InputError, Jobs
from hcsim.traces._table import checked
from tests.shell import hcsim, refused

HEAD = "timestamp,duration,num_gpus,gpu_time,cluster\n"
ROW = "2017-10-09 07:01:55,{},{},66.0,vc1\n"
EDGES = [0, 1, -1, 2, 999, 1000, 1001, 2**31 - 1, 2**31, 4_000_000_000, 10**12, 10**12 + 1]


@pytest.mark.parametrize(
    "key", ["gpus", "gpu_milli", "arrival_s", "duration_s", "user_estimate_s", "cpus", "ram_bytes"]
)
@given(data=st.data())
def test_the_schema_of_jobs_takes_what_jobs_take(key: str, data: st.DataObject) -> None:
    columns: dict[str, Any] = {
        "id": [0, 1], "arrival_s": [0.0, 1.0], "duration_s": [1.0, 1.0], "gpus": [1, 2], "gpu_milli": [500, 1000],
        "user_estimate_s": [1.0, math.nan], "cpus": [1.0, 2.0], "ram_bytes": [1.0, 2.0],
    }  # fmt: skip
    numbers: st.SearchStrategy[float] = st.sampled_from(EDGES) | st.integers(-(2**62), 2**62)
    if isinstance(columns[key][0], float):
        numbers = numbers.map(float) | st.floats() | st.just(1e308)
    columns[key][data.draw(st.integers(0, 1))] = data.draw(numbers)
    arrays = {name: np.array(column) for name, column in columns.items()}
    outcomes = []
    for build in (lambda: checked("jobs", dict(arrays), "f"), lambda: Jobs.build("f", np.array([2, 3]), **arrays)):
        try:
            build()
            outcomes.append("")
        except InputError as error:
            outcomes.append(str(error).split(": ")[1])  # the row
    if columns["gpus"][1] == 0:  # CPUs and RAM alone: jobs made in Python may ask for that, files of jobs may not
        outcomes[1] = outcomes[1] or "row 3"
    assert outcomes[0] == outcomes[1], outcomes


def test_what_has_no_defects_can_be_run(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(HEAD + ROW.format("1e308", 1) + ROW.format(5, 4_000_000_000) + ROW.format("1e12", 2**31 - 1))
    assert hcsim("traces", "validate", path).out.splitlines() == [
        f"{path}: row 2: duration_s is 1e+308, expected at most 1e+12",
        f"{path}: row 3: gpus is 4000000000, expected at most 2147483647",
    ]
    openb = tmp_path / "o.csv"
    openb.write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
        "a,1000,1000,2,500,,LS,Succeeded,1,9,2\n"
    )
    said = hcsim("traces", "validate", openb, "--as", "openb")
    assert said.out == f"{openb}: row 2: gpu_milli is 500, expected 1000 for a gang of several GPUs\n"
    assert said.err.startswith("1 defect: as openb")


def test_parameters_are_checked_by_all_commands_alike(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(HEAD + ROW.format(5, 1))
    expected = "trace.limit is -1, expected 0 (all) or more"
    for given_ in (
        ("validate", path),
        ("validate", path, "--as", "philly"),
        ("convert", path, tmp_path / "a.csv"),
        ("describe", "philly", f"path={path}"),
    ):
        said = hcsim("traces", *given_, "limit=-1")
        assert said.status == 2 and expected in said.err, (given_, said)
    assert expected in refused(tmp_path / "run", "trace=philly", f"trace.path={path}", "trace.limit=-1")
