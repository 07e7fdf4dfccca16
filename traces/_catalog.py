"""What traces there are."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hcsim.model import InputError, nearest
from hcsim.parts import checked as parts_checked
from hcsim.traces._files import Defective
from hcsim.traces._table import JobSource, Source


@cache
def available() -> dict[str, str]:
    """Name -> first line of the docstring, for every source in this folder."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        found[path.stem] = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
    return found


def classes(name: str) -> list[type[Source]]:
    """The sources of a module of this folder, in the order in which they are written.

    Raises:
        InputError: there is no such module.
    """
    known = available()
    if name not in known:
        raise InputError(f"no trace '{name}'; {nearest(name, list(known))}")
    module = importlib.import_module(f"hcsim.traces.{name}")
    mine = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    return [each for each in mine if issubclass(each, Source) and hasattr(each, "kind")]


def make(name: str, parameters: Mapping[str, Any]) -> Source:
    """A source by name, with parameters as a configuration gives them; ``name:Class`` where a module has several.

    Raises:
        InputError: no such source, an unknown parameter, or a value of the wrong type.
    """
    module, _, wanted = name.partition(":")
    found = classes(module)
    if wanted:
        found = [each for each in found if each.__name__.lower() == wanted.lower()]
    if not found:
        raise InputError(
            f"no trace '{name}': known there: {', '.join(each.__name__ for each in classes(module)) or '-'}"
        )
    target = f"{found[0].__module__}.{found[0].__qualname__}"
    parts_checked({"_target_": target, **parameters}, "trace")
    return found[0](**parameters)


def readers(path: Path) -> Iterator[tuple[str, Source]]:
    """Every source that can be given a file, set to this one."""
    for name in available():
        for cls in classes(name):
            if "path" in {f.name for f in dataclasses.fields(cls)}:
                label = name if cls is classes(name)[0] else f"{name}:{cls.__name__}"
                yield label, cls(path=str(path))


def recognised(path: Path) -> tuple[str, Source]:
    """The source whose format a file has: one that reads it whole, else the one that finds the fewest defects.

    Raises:
        InputError: no source reads it; the message says why the nearest does not.
    """
    best: tuple[tuple[bool, int], str, Source] | None = None
    for name, source in readers(path):
        try:
            source.read()
        except Defective as error:
            crooked = any(defect.column == "the row" for defect in error.defects)
            if crooked and error.defects[0].row == 1:
                continue  # rows of something else
            if best is None or (crooked, error.count) < best[0]:
                best = ((crooked, error.count), name, source)
        except InputError:
            continue
        else:
            return name, source
    if best is None:
        raise InputError(f"{path}: no source reads it; name one with --as, or see hcsim traces list")
    return best[1], best[2]


def is_jobs(source: object) -> bool:
    """Whether a source can be replayed as ``trace=``."""
    return isinstance(source, JobSource) or hasattr(source, "jobs")
