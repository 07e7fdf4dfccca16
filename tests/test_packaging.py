"""Wheel, sdist and checkout hold the same files under the same import names, and importing them stays light."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

#: Folders beside hcsim/ that are packaged inside it, and which of their files count.
LINKED = {"strategies": "*.py", "traces": "*.py", "conf": "*.yaml"}
HEAVY = ("simpy", "torch", "hydra", "matplotlib", "pandas")


def python(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` in an isolated interpreter: neither the working folder nor PYTHONPATH is on its path."""
    command = [sys.executable, "-I", "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def printed(code: str, *arguments: object, cwd: Path) -> list[str]:
    """What `code` prints, as words."""
    done = python(code, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def sources(root: Path) -> set[str]:
    """The linked folders' files as a package holds them, such as hcsim/strategies/fifo.py."""
    return {
        f"hcsim/{path.relative_to(root).as_posix()}"
        for folder, pattern in LINKED.items()
        for path in (root / folder).rglob(pattern)
    }


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> dict[str, Path]:
    """The sdist, the wheel made from that sdist, and the wheel made from the checkout; nothing is downloaded."""
    out = tmp_path_factory.mktemp("dist")
    for name, options in (("release", []), ("checkout", ["--wheel"])):
        command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(out / name)]
        done = subprocess.run([*command, str(project_root)], cwd=out, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    (sdist,) = (out / "release").glob("*.tar.gz")
    (wheel,) = (out / "release").glob("*.whl")
    (from_checkout,) = (out / "checkout").glob("*.whl")
    return {"sdist": sdist, "wheel": wheel, "wheel from checkout": from_checkout}


@pytest.fixture(scope="session")
def installed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel alone is installed."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps"]
    done = subprocess.run(
        [*command, "--target", str(target), str(built["wheel"])], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.parametrize("folder", sorted(LINKED))
def test_the_links_in_the_checkout_are_relative(project_root: Path, folder: str) -> None:
    link = project_root / "hcsim" / folder
    if not (project_root / folder).is_dir() and link.is_dir() and not link.is_symlink():
        pytest.skip("unpacked from the sdist, which holds real folders")
    assert link.readlink() == Path("..", folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "wheel from checkout"])
def test_the_wheel_holds_real_files_under_hcsim(built: dict[str, Path], project_root: Path, kind: str) -> None:
    with zipfile.ZipFile(built[kind]) as wheel:
        names = wheel.namelist()
        sizes = {item.filename: item.file_size for item in wheel.infolist()}
    assert len(names) == len(set(names))
    assert sources(project_root / "hcsim") >= {"hcsim/strategies/__init__.py", "hcsim/conf/config.yaml"}
    for name in sources(project_root / "hcsim"):
        assert sizes.get(name) == (project_root / name).stat().st_size, name
    version = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert {name.split("/")[0] for name in names} == {"hcsim", f"hcsim-{version}.dist-info"}


@pytest.mark.slow
def test_the_sdist_holds_real_files_under_hcsim(built: dict[str, Path], project_root: Path) -> None:
    with tarfile.open(built["sdist"]) as sdist:
        members = {item.name.partition("/")[2]: item for item in sdist.getmembers()}
    for name in sources(project_root / "hcsim"):
        assert members[name].isreg(), name
        assert members[name].size == (project_root / name).stat().st_size, name
    assert not [name for name, item in members.items() if item.issym() or item.islnk()]
    assert not {name.split("/")[0] for name in members} & set(LINKED)


@pytest.mark.slow
def test_the_installed_wheel_imports_from_its_own_files(installed: Path, tmp_path: Path) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import importlib, pkgutil
import hcsim, hcsim.strategies, hcsim.traces
for package in (hcsim, hcsim.strategies, hcsim.traces):
    print(package.__file__)
for found in pkgutil.walk_packages(hcsim.strategies.__path__, "hcsim.strategies."):
    print(importlib.import_module(found.name).__file__)
"""
    files = [Path(word) for word in printed(code, installed, cwd=tmp_path)]
    assert len(files) > 3
    for file in files:
        assert file.is_relative_to(installed), file
        assert file.is_file() and not file.is_symlink()
        assert file.resolve() == file


@pytest.mark.slow
def test_the_installed_wheel_runs_the_command_line(installed: Path, tmp_path: Path) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from hcsim.cli import main
sys.exit(main())
"""
    done = python(code, installed, "strategies", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fifo" in done.stdout


@pytest.mark.parametrize("name", ["hcsim.strategies", "hcsim.traces"])
def test_the_checkout_imports_without_being_installed(project_root: Path, tmp_path: Path, name: str) -> None:
    code = (
        "import sys, importlib; sys.path.insert(0, sys.argv[1]); print(importlib.import_module(sys.argv[2]).__file__)"
    )
    (file,) = printed(code, project_root, name, cwd=tmp_path)
    assert Path(file) == project_root / name.replace(".", "/") / "__init__.py"


@pytest.mark.parametrize("name", ["strategies", "traces"])
def test_the_folders_refuse_their_plain_names(project_root: Path, tmp_path: Path, name: str) -> None:
    done = python(f"import sys; sys.path.insert(0, sys.argv[1]); import {name}", project_root, cwd=tmp_path)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f"hcsim.{name}" in last and "hcsim.strategies" in last
    assert last.count(". ") == 0 and last.endswith(".")


def test_importing_every_strategy_loads_nothing_heavy(project_root: Path, tmp_path: Path) -> None:
    modules = sorted(
        ".".join(path.relative_to(project_root).with_suffix("").parts)
        for path in (project_root / "hcsim" / "strategies").rglob("*.py")
        if path.name != "__init__.py"
    )
    assert modules
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import importlib
heavy = sys.argv[2].split(",")
for name in sys.argv[3:]:
    importlib.import_module(name)
    loaded = [module for module in heavy if module in sys.modules]
    if loaded:
        sys.exit(f"{name} loads {loaded}")
"""
    done = python(code, project_root, ",".join(HEAVY), *modules, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_importing_hcsim_takes_under_half_a_cpu_second(project_root: Path, tmp_path: Path) -> None:
    code = """
import sys, time
sys.path.insert(0, sys.argv[1])
start = time.process_time()
import hcsim
print(time.process_time() - start)
"""
    spent = [float(printed(code, project_root, cwd=tmp_path)[0]) for _ in range(3)]
    assert min(spent) < 0.5, spent
