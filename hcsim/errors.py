"""The error of bad input, and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Any


class InputError(ValueError):
    """Bad input: one line that says where, what was given and what was expected. The command line exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # what was given may hold any character


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause naming the valid name closest to ``name``, or the valid names when none is close."""
    import difflib

    names = [str(each) for each in known]  # a configuration's names may look like numbers
    names = [each if len(each) <= 40 else f"{each[:37]}..." for each in names]  # a file's header may hold anything
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    if close:  # of those that are as near the one whose letters were swapped
        best = max(close, key=lambda each: sorted(each) == sorted(str(name)))
        return f"did you mean '{best}'?"
    shown = ", ".join(sorted(names)[:12]) + (", ..." if len(names) > 12 else "")
    return f"known: {shown}"


def require(ok: bool, message: str) -> None:
    """Raises:
    InputError: with this message, unless ``ok``.
    """
    if not ok:
        raise InputError(message)


def yaml_fault(error: Exception, files: Iterable[Path]) -> str:
    """Where a YAML file is broken and how: ``file: line N: what``.

    Args:
        error: ``yaml.YAMLError`` or ``UnicodeDecodeError``.
        files: which files it may be, for an error that does not say.
    """
    if isinstance(error, UnicodeDecodeError):
        file = next((path for path in files if error.object in path.read_bytes()), "a configuration file")
        line, what = error.object[: error.start].count(b"\n") + 1, "not UTF-8 text"
    else:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        name = Path(mark.name if mark else getattr(error, "name", ""))  # a character that YAML forbids has no mark
        file = name if name.is_file() else next(iter(files), "YAML")
        line, what = mark.line + 1 if mark else 0, getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{file}: line {line}: {what}" if line else f"{file}: {what}"


def in_bounds(where: str, of: Any, **bounds: tuple[float, float]) -> None:
    """Hold fields of ``of`` to lie within [least, most]; a most of inf means finite."""
    for name, (least, most) in bounds.items():
        value = getattr(of, name)
        ok = isinstance(value, (int, float)) and least <= value <= most and value < inf
        expected = f"a number from {least:g} to {most:g}" if most < inf else f"a finite number >= {least:g}"
        require(ok, f"{where}: {name} is {value}, expected {expected}")
