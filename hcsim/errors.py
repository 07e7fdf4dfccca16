"""The error of bad input, and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: one line that says where, what was given and what was expected. The command line exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # what was given may hold any character


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause naming the valid name closest to ``name``, or the valid names when none is close."""
    import difflib

    names = [str(each) for each in known]  # a configuration's names may look like numbers
    names = [each if len(each) <= 40 else f"{each[:37]}..." for each in names]  # a file's header may hold anything
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(sorted(names)[:12]) + (", ..." if len(names) > 12 else "")
    return f"known: {shown}"


def require(ok: bool, message: str) -> None:
    """Raises:
    InputError: with this message, unless ``ok``.
    """
    if not ok:
        raise InputError(message)
