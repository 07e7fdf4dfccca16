"""Install torch into the running interpreter's environment, without ever fetching CUDA builds unasked.

A torch that is installed already is left alone. Otherwise the build that pip would choose is taken where it is a CPU
build (a local wheel, or a platform whose published build is one). Where it would bring CUDA, about 3 GB, it is taken
only if a GPU is there or the user asks with ``TORCH=cuda``; else the CPU build is tried from PyTorch's public index.
Where that cannot be had, one line says so: the tests of the live executor are then skipped, everything else works.

The environment variable ``TORCH`` is one of ``auto`` (the default), ``cpu``, ``cuda`` and ``none``. The exit status is
always 0, except for an unknown value of ``TORCH``: a missing torch never fails the set-up.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
#: A CPU wheel is 60 to 250 MB, a CUDA wheel 500 MB and more.
CPU_LIMIT_MB = 350.0
MODES = ("auto", "cpu", "cuda", "none")

DOWNLOADING = re.compile(r"Downloading \S*torch-\S+\.whl \((?P<size>[\d.]+) (?P<unit>[kMG]B)\)")
UNIT_MB = {"kB": 1e-3, "MB": 1.0, "GB": 1e3}
PLATFORM = re.compile(r"""(?P<key>platform_system|sys_platform)\s*==\s*['"](?P<value>\w+)['"]""")
CUDA_PACKAGE = re.compile(r"^(nvidia-|cuda-)")


def say(text: str) -> None:
    print(f"torch: {text}", flush=True)


def pip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]


def has_gpu() -> bool:
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def pinned_version() -> str | None:
    """The version of torch that the constraints file names, or None."""
    found = re.search(r"^torch==(\S+)", CONSTRAINTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return found.group(1) if found else None


def pulls_cuda(requires_dist: list[str]) -> bool:
    """Whether one of these requirements brings CUDA libraries on this platform."""
    here = {"platform_system": platform.system(), "sys_platform": sys.platform}
    for requirement in requires_dist:
        if "extra ==" in requirement or not CUDA_PACKAGE.match(requirement):
            continue
        if all(here[found["key"]] == found["value"] for found in PLATFORM.finditer(requirement)):
            return True
    return False


def default_build(requirement: str) -> str:
    """What pip would install for `requirement`: ``cpu``, ``cuda`` or ``nothing``.

    Nothing is installed. An index that offers no separate metadata makes pip fetch the wheel to read it: pip is stopped
    as soon as it announces a wheel too large for a CPU build.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--ignore-installed", "--no-deps", "--progress-bar", "off", "--report", str(report)]
        command = pip("install", *options, "-c", str(CONSTRAINTS), requirement)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                found = DOWNLOADING.search(line)
                if found and float(found["size"]) * UNIT_MB[found["unit"]] > CPU_LIMIT_MB:
                    process.terminate()
                    return "cuda"
        if process.returncode != 0:
            return "nothing"
        chosen = json.loads(report.read_text(encoding="utf-8"))["install"]
    metadata = next(item["metadata"] for item in chosen if item["metadata"]["name"] == "torch")
    return "cuda" if pulls_cuda(metadata.get("requires_dist", [])) else "cpu"


def install(requirement: str) -> bool:
    return subprocess.call(pip("install", "-q", "-c", str(CONSTRAINTS), requirement)) == 0


def install_from_cpu_index() -> bool:
    """Try PyTorch's public index of CPU builds, briefly; the build's own dependencies come from the usual index."""
    version = pinned_version()
    if version is None:
        return False
    # The local version label rules out any other build that a configured index may offer.
    wheel = pip("install", "-q", "--no-deps", "--timeout", "10", "--retries", "0", "--index-url", CPU_INDEX)
    if subprocess.call([*wheel, f"torch=={version}+cpu"], stderr=subprocess.DEVNULL) != 0:
        return False
    return install("torch")


def main() -> int:
    mode = os.environ.get("TORCH", "").lower() or "auto"
    if mode not in MODES:
        say(f"TORCH={mode} is unknown; expected one of {', '.join(MODES)}.")
        return 2
    if mode == "none":
        say("skipped, as TORCH=none asks; the tests of the live executor will be skipped.")
        return 0
    if importlib.util.find_spec("torch") is not None:
        say("already installed.")
        return 0
    version = pinned_version()
    wants_cuda = mode == "cuda" or (mode == "auto" and has_gpu())
    # With CUDA wanted, a CPU wheel that lies at hand must not win over the published build.
    requirement = f"torch!={version}+cpu" if wants_cuda and version else "torch"
    build = default_build(requirement)
    if build == "cuda" and wants_cuda:
        why = "TORCH=cuda asks for it" if mode == "cuda" else "a GPU is here; TORCH=cpu takes the small CPU build"
        say(f"installing the CUDA build, a download of about 3 GB ({why}).")
        done = install(requirement)
    elif build == "cpu":
        say("installing a CPU build.")
        done = install(requirement)
    else:
        say("trying the CPU build of PyTorch's public index.")
        done = install_from_cpu_index()
    if not done:
        say(
            "not installed, no CPU build could be had, so the tests of the live executor will be skipped; "
            "install any torch >= 2.4 into this environment, or run make setup TORCH=cuda (about 3 GB)."
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
