"""What a result depends on, as hashes: the source of modules, and the parameters of parts in plain data."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from math import isfinite
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

#: A module's hash and the names that it imports.
_Read = tuple[str, tuple[str, ...]]
#: As they were when first asked for: what is loaded does not change when its file does.
_loaded: WeakKeyDictionary[ModuleType, _Read] = WeakKeyDictionary()


def source_sha256(*modules: str) -> str:
    """A hash of some modules' files and of the files that they import, also inside functions and through others.

    Followed are hcsim, the package of the first module, and what is not installed: a module beside the user's own.
    Left out are the standard library and other installed packages, what is imported for type checkers alone, and what
    is imported by a computed name. Files that are read as data are not seen.
    """
    own = {"hcsim", modules[0].partition(".")[0]}
    found: dict[str, str] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        package = name.partition(".")[0]
        if name in found or not (package in own or _local(package)):
            continue
        read = _read(name)
        if read is not None:
            found[name] = read[0]
            todo += read[1]
    text = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(found.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _local(package: str) -> bool:
    """Whether a top-level module or package lies elsewhere than the standard library and installed packages."""
    if package in sys.stdlib_module_names:
        return False
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None or not (spec.has_location or spec.submodule_search_locations):
        return False  # not there, or built in
    place = spec.origin if spec.has_location else next(iter(spec.submodule_search_locations or ()), None)
    return not {"site-packages", "dist-packages"}.intersection(os.path.abspath(place or "").split(os.sep))


def _read(name: str) -> _Read | None:
    """A module's hash and imports; None for what is no module with a file."""
    module = sys.modules.get(name)
    if module is not None and module in _loaded:
        return _loaded[module]
    path: str | None
    if module is not None:
        path = getattr(module, "__file__", None)
    else:
        try:
            spec = find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        path = spec.origin if spec is not None and spec.has_location else None
    if path is None or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        text = file.read()
    package = name if os.path.basename(path) == "__init__.py" else name.rpartition(".")[0]
    read = hashlib.sha256(text).hexdigest(), tuple(_imports(text, package)) if path.endswith(".py") else ()
    if module is not None:
        _loaded[module] = read
    return read


def _imports(text: bytes, package: str) -> Iterator[str]:
    """Names of modules that a source imports, with their packages; of ``from a import b`` also ``a.b``."""
    try:
        todo: list[ast.AST] = [ast.parse(text)]
    except SyntaxError:  # imported in a function that was never called
        return
    while todo:
        node = todo.pop()
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: i + 1]) for i in range(len(parts)))
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)


def plain(value: Any) -> Any:
    """A part's parameters as data that JSON can hold and that is the same in every process.

    Infinities and NaN become text, functions and classes their names, a dataclass its type and fields.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"type": _named(type(value))} | {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, partial):
        return {"type": "partial", "of": plain(value.func), "args": plain(value.args), "with": plain(value.keywords)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each) for each in value), key=repr)
    if isinstance(value, float):
        return float(value) if isfinite(value) else str(float(value))
    if value is None or isinstance(value, (str, int)):
        return value
    if hasattr(value, "tolist"):  # arrays and numbers of NumPy
        return plain(value.tolist())
    if hasattr(value, "__qualname__"):
        return _named(value)
    own_repr = getattr(type(value), "__repr__", None) is not object.__repr__  # else it shows an address
    return repr(value) if own_repr else _named(type(value))


def _named(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def modules_in(value: Any) -> set[str]:
    """The modules of the classes and functions that a part is made of."""
    if isinstance(value, partial):
        return modules_in(value.func) | modules_in(value.args) | modules_in(value.keywords)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, field.name) for field in dataclasses.fields(value)]
        return {type(value).__module__}.union(*map(modules_in, inner))
    if isinstance(value, Mapping):
        return set().union(*map(modules_in, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return set().union(*map(modules_in, value))
    module = value.__module__ if hasattr(value, "__qualname__") else type(value).__module__
    return {module} - {"builtins", None}
