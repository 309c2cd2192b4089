"""
Write down the public API: every name of `hydra`, `fallbacks` and their kits for tests, with
its signature.

Run it without arguments to rewrite tests/golden/api.txt and the marked blocks of
docs/reference/api.md; with `--check` to change nothing and fail when they are
out of date. A change of the first file is a change that users can see: it belongs
into CHANGELOG.md.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Final, get_args

ROOT: Final = Path(__file__).resolve().parent.parent
GOLDEN: Final = ROOT / "tests" / "golden" / "api.txt"
PAGE: Final = ROOT / "docs" / "reference" / "api.md"
PACKAGES: Final = ("hydra", "hydra.testing", "fallbacks", "fallbacks.testing")
# What users meet through the names of a package without importing it from there.
REACHED: Final = {
    "hydra": (
        "hydra.core.Problem",
        "hydra.metrics.DestinationStats",
        "hydra.metrics.JournalStats",
        "hydra.metrics.TierStats",
        "hydra.queue.Fate",
        "hydra.queue.State",
    ),
    "fallbacks": ("fallbacks.breaker.State", "fallbacks.held.HeldStatistics"),
}

_BLOCK: Final = re.compile(
    r"(<!-- api: (?P<package>[a-z.]+) -->\n).*?(<!-- end of api -->)", re.DOTALL
)
_MAGIC: Final = {
    "__aenter__", "__aexit__", "__await__", "__call__", "__enter__", "__exit__", "__getitem__",
    "__iter__", "__len__",
}  # fmt: skip
# What every method of a level takes; the page writes it once.
_CALL: Final = (
    "*args: object, exc_info: ExcInfo = None, stack_info: bool = False, stacklevel: int = 1, "
    "extra: Mapping[str, object] | None = None, **fields: object"
)
_SHORT: Final = "..."
_EMPTY: Final = inspect.Parameter.empty

sys.path.insert(0, str(ROOT))


def snapshot() -> str:
    """Return the public API as text, one name or member a line."""
    return "".join(f"{line}\n" for package in PACKAGES for _, line in _all(package))


def rendered(page: str) -> str:
    """Return *page* with each marked block holding the names of its package."""
    return _BLOCK.sub(
        lambda block: f"{block[1]}\n{_chapter(block['package'])}\n{block[3]}",
        page,
    )


# -- one name


def _all(package: str) -> Iterator[tuple[object, str]]:
    """Yield every line of *package*, each with the object that it is about."""
    for name, found in _names(package):
        for line in _lines(name, found):
            yield found, line


def _names(package: str) -> Iterator[tuple[str, object]]:
    module = importlib.import_module(package)
    for name in module.__all__:
        yield f"{package}.{name}", getattr(module, name)
    for path in REACHED.get(package, ()):
        home, _, name = path.rpartition(".")
        yield path, getattr(importlib.import_module(home), name)


def _lines(name: str, found: object) -> Iterator[str]:
    short = name.rpartition(".")[2]
    if isinstance(found, type) and found.__name__ != short:
        yield f"class {name}{_bases(found)}, called {found.__name__} at home"
    elif isinstance(found, UnionType):
        yield f"type {name} = {' | '.join(part.__name__ for part in get_args(found))}"
    elif isinstance(found, type):
        yield f"class {name}{_bases(found)}{_construction(found)}"
        for member, said in _members(found):
            yield f"    {said or member}"
    elif callable(found):
        yield f"{_kind(found)} {name}{_signature(found)}"
    else:
        yield f"value {name}: {_value(found)}"


def _members(found: type) -> Iterator[tuple[str, str]]:
    """Yield the public members of a class in alphabetical order, each with its line."""
    if issubclass(found, enum.Enum):
        for item in found:
            yield item.name, f"{item.name} = {item.value!r}"
        return
    fields = _fields(found)
    for name, annotation in fields.items():
        yield name, f"{name}: {annotation}"
    for name in sorted(_own_names(found)):
        if name in fields or (name.startswith("_") and name not in _MAGIC):
            continue
        raw = inspect.getattr_static(found, name)
        if isinstance(raw, property):
            assert raw.fget is not None
            yield name, f"property {name}: {_annotation(_answer(raw.fget))}"
        elif isinstance(raw, staticmethod | classmethod):
            bound = getattr(found, name)
            yield name, f"{type(raw).__name__} {name}{_signature(bound)}"
        elif inspect.isfunction(raw):
            yield name, f"{_kind(raw)} {name}{_signature(raw)}"


def _answer(getter: Callable[..., object]) -> object:
    return inspect.signature(getter).return_annotation


def _own_names(found: type) -> set[str]:
    """Return the names defined by *found* and by bases of the same packages."""
    return {
        name
        for base in found.__mro__
        if base.__module__.partition(".")[0] in PACKAGES
        for name in vars(base)
    }


def _fields(found: type) -> dict[str, str]:
    """Return the fields of a dataclass or struct, else the annotated public attributes."""
    names = (
        getattr(found, "__struct_fields__", None)
        or getattr(found, "__dataclass_fields__", None)
        or inspect.get_annotations(found)
    )
    annotations: dict[str, object] = {}
    for base in reversed(found.__mro__):
        annotations.update(inspect.get_annotations(base))
    return {
        name: _annotation(annotations[name])
        for name in names
        if not name.startswith("_") and name in annotations
    }


def _bases(found: type) -> str:
    """Return the bases as they are written; a private one only has what users see below."""
    names = [base.__name__ for base in found.__bases__ if base is not object]
    bases = [name for name in names if not name.startswith("_")]
    return f"({', '.join(bases)})" if bases else ""


def _construction(found: type) -> str:
    if issubclass(found, enum.Enum) or getattr(found, "_is_protocol", False):
        return ""
    if hasattr(found, "__struct_fields__"):
        # The fields say it, and msgspec writes annotations in a way of its own.
        return ""
    if issubclass(found, BaseException) and "__init__" not in vars(found):
        return ""
    try:
        said = str(_signature(found))
    except (TypeError, ValueError):
        return ""
    return f" = {said.partition(' -> ')[0]}"


def _kind(found: object) -> str:
    return "async def" if inspect.iscoroutinefunction(found) else "def"


def _signature(found: Callable[..., object]) -> str:
    """Return the signature of *found* with annotations as they are written in the source."""
    parts: list[str] = []
    kinds = inspect.Parameter
    before: inspect._ParameterKind | None = None
    if inspect.isbuiltin(found):
        # What C tells about its arguments differs between versions of Python.
        return "(...)"
    signature = inspect.signature(found)
    for parameter in signature.parameters.values():
        if before is kinds.POSITIONAL_ONLY and parameter.kind is not before:
            parts.append("/")
        star = parameter.kind is kinds.KEYWORD_ONLY
        if star and before not in {kinds.VAR_POSITIONAL, kinds.KEYWORD_ONLY}:
            parts.append("*")
        parts.append(_parameter(parameter))
        before = parameter.kind
    if before is kinds.POSITIONAL_ONLY:
        parts.append("/")
    answer = signature.return_annotation
    tail = "" if answer is _EMPTY else f" -> {_annotation(answer)}"
    return f"({', '.join(parts)}){tail}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
    said = f"{stars}{parameter.name}"
    if parameter.annotation is not _EMPTY:
        said += f": {_annotation(parameter.annotation)}"
    if parameter.default is not _EMPTY:
        between = " = " if parameter.annotation is not _EMPTY else "="
        said += f"{between}{_value(parameter.default)}"
    return said


def _annotation(found: object) -> str:
    if isinstance(found, str):
        return found
    return found.__name__ if isinstance(found, type) else str(found)


def _value(found: object) -> str:
    said = repr(found)
    # An address, or a factory's mark, differs from run to run and from version to version.
    return "..." if " at 0x" in said or said.startswith("<factory") or len(said) > 60 else said


# -- the page


def _chapter(package: str) -> str:
    return "\n".join(
        f"### `{name}`\n\n{_summary(found)}```text\n"
        + "".join(f"{line.replace(_CALL, _SHORT)}\n" for line in _lines(name, found))
        + "```\n"
        for name, found in _names(package)
    )


def _summary(found: object) -> str:
    """Return the first sentences of a name's own docstring; nothing where it only inherits one."""
    own = found if isinstance(found, type) or inspect.isroutine(found) else type(found)
    doc = inspect.getdoc(own)
    inherited = isinstance(own, type) and own.__doc__ is None
    if not doc or inherited or own is UnionType or doc.startswith(f"{own.__name__}("):
        return ""
    return " ".join(doc.partition("\n\n")[0].split()) + "\n\n"


def main(arguments: list[str]) -> int:
    """Bring both files up to date, or say that they are not; return the exit status."""
    late = [
        (path, text)
        for path, text in (
            (GOLDEN, snapshot()),
            (PAGE, rendered(PAGE.read_text(encoding="utf-8"))),
        )
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in late:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is out of date: run scripts/api_snapshot.py")
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if late and "--check" in arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
