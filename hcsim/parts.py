"""Held against the code before anything is made: a configuration's targets, parameters and values."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hcsim.model import InputError, nearest

#: Annotation -> types of values that it takes from a configuration, and how an error names them.
_SCALARS: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    str: ((str, int, float), "text"),
}


def checked(node: Any, key: str, hint: Any = None) -> None:
    """Hold a part's configuration against what it will be made of: the signature of its ``_target_``, or the dataclass
    that annotates it, where a mapping is laid over a default.

    Raises:
        InputError: a target that cannot be imported, a parameter that it does not have, or a value of another type.
    """
    if isinstance(node, list):
        for i, each in enumerate(node):
            checked(each, f"{key}.{i}")
    if not isinstance(node, dict):
        return
    target = _target(node["_target_"], key) if "_target_" in node else hint
    if "_target_" not in node and not dataclasses.is_dataclass(hint):
        for name, each in node.items():
            checked(each, f"{key}.{name}")
        return
    try:
        known, hints = inspect.signature(target).parameters, typing.get_type_hints(target)
    except (TypeError, ValueError, NameError):  # not written in Python, or hints that only a type checker can read
        return
    for name, each in node.items():
        if name.startswith("_") and name.endswith("_"):
            continue  # Hydra's own
        if name not in known and not any(p.kind == p.VAR_KEYWORD for p in known.values()):
            raise InputError(f"{key}: no parameter '{name}'; {nearest(name, list(known))}")
        default = known[name].default if name in known else None
        _typed(each, hints.get(name), f"{key}.{name}", laid_over=dataclasses.is_dataclass(default))
        checked(each, f"{key}.{name}", _dataclass(hints.get(name)))


def _dataclass(hint: Any) -> Any:
    """The one dataclass of a union, which a configuration gives as a mapping; else the hint."""
    found = [each for each in typing.get_args(hint) if dataclasses.is_dataclass(each)]
    return found[0] if len(found) == 1 and typing.get_origin(hint) in (typing.Union, types.UnionType) else hint


def _typed(value: Any, hint: Any, key: str, *, laid_over: bool = False) -> None:
    """``laid_over``: a mapping may change some parameters of a default that is a dataclass."""
    expected = None
    given = typing.get_args(hint)
    if value is None and type(None) in given:
        return
    laid_over |= any(typing.get_origin(each) is Mapping for each in given)
    hint = _dataclass(hint)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):  # of what may be None the other, of anything else what it says itself
        others = [each for each in inner if each is not type(None)]
        if len(others) == 1:
            _typed(value, others[0], key)
        return
    if hint in _SCALARS:
        accepted, name = _SCALARS[hint]
        if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
            expected = name
    elif isinstance(value, dict) and "_target_" in value:
        return  # whatever that makes
    elif origin is Callable:
        expected = "something to call, such as {_target_: hydra.utils.get_method, path: MODULE.NAME}"
    elif origin in (tuple, list, Sequence):
        if not isinstance(value, (list, tuple)):
            expected = "a list"
        elif origin is not tuple or Ellipsis in inner:
            inner = inner[:1] * len(value)
    elif origin in (dict, Mapping):
        if not isinstance(value, dict):
            expected = "a mapping"
        inner = inner[-1:] * len(value) if expected is None else ()
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint) and not (laid_over and isinstance(value, dict)):
        expected = f"the parameters of {hint.__name__}"
        if isinstance(value, dict):
            expected += f" with _target_: {hint.__module__}.{hint.__qualname__}"
    if expected:
        raise InputError(f"{key} is {quoted(value)}, expected {expected}")
    within = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for (name, each), each_hint in zip(within, inner, strict=False):
        _typed(each, each_hint, f"{key}.{name}")


def quoted(value: Any) -> str:
    """A value as it is shown in an error."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _target(path: str, key: str) -> Any:
    """What a ``_target_`` names."""
    try:
        return pkgutil.resolve_name(path)
    except Exception as error:  # whatever a module of the user's own raises when it is imported
        module, _, name = str(path).rpartition(".")
        loaded = sys.modules.get(module)
        if loaded is None:
            why = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            why = nearest(name, [each for each in vars(loaded) if not each.startswith("_")])
        raise InputError(f"{key}._target_ is '{path}', expected a name that can be imported ({why})") from None


def place(node: Any, key: str) -> str:
    """What a key in a part's configuration is of, for messages: ``pool 'p': price`` for ``sites[0].pools[0].price``.

    Empty for what names itself: an entry of a list, or what stands in nothing that has a name.
    """
    *path, last = re.findall(r"[^.\[\]]+", key)
    for step in path:
        node = node[int(step)] if isinstance(node, list) else node[step]
    if last.isdecimal() or not isinstance(node, dict) or "name" not in node or len(path) < 2:
        return ""
    return f"{path[-2].removesuffix('s')} '{node['name']}': {last}: "
