"""What traces there are."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from hcsim.model import InputError, nearest
from hcsim.parts import checked as parts_checked
from hcsim.traces._bytes import Lines, holding, opened, read_bytes
from hcsim.traces._files import Defective, Lacking
from hcsim.traces._table import Source, Unsaid

#: So much of a table is looked at to find out what it is.
HEAD_BYTES = 1 << 18


class Unread(InputError):
    """No source reads a file or folder."""


@cache
def available() -> Mapping[str, str]:
    """Name -> first line of the docstring, for every source in this folder."""
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        found[path.stem] = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
    return found


def classes(name: str) -> list[type[Source]]:
    """The sources of a module of this folder, in the order in which they are written.

    Raises:
        InputError: there is no such module.
    """
    return [each for each in _written(name) if issubclass(each, Source) and hasattr(each, "kind")]


def _written(name: str) -> list[type[Any]]:
    known = available()
    if name not in known:
        raise InputError(f"no trace '{name}'; {nearest(name, list(known))}")
    module = importlib.import_module(f"hcsim.traces.{name}")
    return [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]


def drawn(name: str) -> Any:
    """The class of a module whose jobs come of no log (``twin``, ``fitted``, ``listed``); None of any other module."""
    return None if classes(name) else next((each for each in _written(name) if hasattr(each, "jobs")), None)


def make(name: str, parameters: Mapping[str, Any], jobs: bool = False) -> Source:
    """A source by name, with parameters as a configuration gives them; ``name:Class`` where a module has several, else
    the first (with ``jobs`` the first that can be replayed, if there is one).

    What is drawn or listed has no use for a folder of data and is made without it.

    Raises:
        InputError: no such source, an unknown parameter, or a value of the wrong type.
    """
    module, _, wanted = name.partition(":")
    if not wanted and (cls := drawn(module)) is not None:
        made: Source = _made(cls, {key: value for key, value in parameters.items() if key != "data_dir"})
        return made
    found = classes(module)
    if wanted:
        found = [each for each in found if each.__name__.lower() == wanted.lower()]
    if not found:
        raise InputError(
            f"no trace '{name}': known there: {', '.join(each.__name__ for each in classes(module)) or '-'}"
        )
    replayed = [each for each in found if jobs and is_jobs(each)]
    return _made((replayed or found)[0], parameters)


def _made(cls: type[Source], parameters: Mapping[str, Any]) -> Source:
    """A source with parameters, held against its own; a number where it wants text is text."""
    hints = typing.get_type_hints(cls)
    given = {key: str(value) if hints.get(key) is str else value for key, value in parameters.items()}
    parts_checked({"_target_": f"{cls.__module__}.{cls.__qualname__}", **given}, "trace")
    return cls(**given)


def readers(path: Path, parameters: Mapping[str, Any]) -> Iterator[tuple[str, Source]]:
    """Every source that can be given a file and has these parameters, set to this one.

    Raises:
        InputError: none has them, or none takes their values.
    """
    fields = {f.name for name in available() for cls in classes(name) for f in dataclasses.fields(cls)}
    for key in parameters:
        if key not in fields:
            raise InputError(f"no source has a parameter '{key}'; {nearest(key, sorted(fields))}")
    wrong = InputError(f"no source has the parameters {', '.join(parameters)}, all of them")
    found = False
    for name in available():
        for cls in classes(name):
            try:
                source = _made(cls, {**parameters, "path": str(path)})
            except InputError as refused:
                wrong = refused if set(parameters) <= {f.name for f in dataclasses.fields(cls)} else wrong
                continue
            yield name if cls is classes(name)[0] else f"{name}:{cls.__name__}", source
            found = True
    if not found:
        raise wrong


def recognised(path: Path, parameters: Mapping[str, Any] | None = None) -> tuple[str, Source]:
    """The source whose format a file or folder has. It is found on the first lines of a table: one that reads them
    without a defect (that it is called after, if there are several), else the one that finds the fewest.

    Raises:
        Unsaid: the only sources that fit need a parameter.
        InputError: no source reads it, or it cannot be read at all.
    """
    fits: list[tuple[tuple[int, int, bool], str, Source]] = []
    unsaid: list[tuple[str, Unsaid]] = []
    lacking: list[tuple[str, Lacking]] = []
    data = None if path.is_dir() else _head(path)
    with nullcontext() if data is None else holding({path: data}):
        for name, source in readers(path, parameters or {}):
            missing: Unsaid | None = None
            try:
                while True:
                    try:
                        source.read()
                        rank = (0, 0)
                        break
                    except Unsaid as error:  # whether the rest fits shows once it is said
                        missing = missing or error
                        source = dataclasses.replace(source, **{error.name: error.example})
            except Defective as error:
                crooked = any(defect.column == "the row" for defect in error.defects)
                if crooked and error.defects[0].row == 1:
                    continue  # rows of something else
                rank = (1 + crooked, error.count)
            except Lacking as error:
                lacking.append((name, error))
                continue
            except InputError:
                continue
            if missing is not None:
                unsaid += [(name, missing)] if rank == (0, 0) else []
            else:
                fits.append(((*rank, name.partition(":")[0] not in path.absolute().as_posix()), name, source))
    fits.sort(key=lambda each: each[0])
    good = [(name, source) for rank, name, source in fits if rank[:2] == (0, 0)]
    for name, source in good[:-1]:
        try:
            source.read()
        except InputError:
            continue
        return name, source
    if good:
        return good[-1]
    if unsaid:
        raise InputError(f"{unsaid[0][1]}, to read it as {unsaid[0][0]}")
    if not fits:
        raise Unread(f"{path}: no source reads it{_nearest(lacking)}; name one with --as, or see hcsim traces list")
    return fits[0][1:]


def _nearest(lacking: Sequence[tuple[str, Lacking]]) -> str:
    """Which source's header a table came nearest to, and what it lacked; empty if it has no column of any."""

    def most(common: Callable[[Lacking], set[str]]) -> tuple[str, Lacking] | None:
        """The source with the largest share of its columns in common."""
        best = max(lacking, key=lambda each: len(common(each[1])) / len(each[1].wanted), default=None)
        return best if best and len(common(best[1])) * 2 >= len(best[1].wanted) else None

    if found := most(lambda error: set(error.wanted) & set(error.header)):
        return f" (nearest is {found[0]}, which needs {_quoted(found[1].missing)} as well)"
    for mark, called in ((";", "';'"), ("\t", "tabs"), ("|", "'|'"), (",", "','")):
        if found := most(lambda error, mark=mark: set(error.wanted) & set(mark.join(error.header).split(mark))):  # type: ignore[misc]
            return f" (nearest is {found[0]}, whose columns are not divided by {called})"
    return ""


def _quoted(names: Sequence[str]) -> str:
    return ("column " if len(names) == 1 else "columns ") + ", ".join(f"'{name}'" for name in names)


def _head(path: Path) -> bytes | None:
    """The first lines of a table, or a whole document; None for a table whose first two lines are longer than that."""
    with opened(path) as file:
        head: bytes = file.read(HEAD_BYTES)
    if not head.strip():
        raise InputError(f"{path}: is empty")
    if len(head) < HEAD_BYTES:
        return head
    end = max(head.rfind(b"\n"), head.rfind(b"\r"))
    if b"\0" in head[:512] or (head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[", b'"') and not is_lines(head)):
        return read_bytes(path)
    if not head[:end].strip() or not head[:end].count(b"\n") + head[:end].count(b"\r"):
        with opened(path) as file:  # a long row is none of a table if it is too long
            lines = Lines(path, file)
            lines.first()
            lines.first()
        return None
    return head[: end + 1]


def is_lines(head: bytes) -> bool:
    """Whether the first line is a whole JSON value."""
    try:
        json.loads(head.split(b"\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return b"\n" in head


def is_jobs(source: object) -> bool:
    """Whether a source, or its class, can be replayed as ``trace=``."""
    return hasattr(source, "jobs")
