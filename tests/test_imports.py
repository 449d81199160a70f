"""Who imports whom: the rules that keep the two halves apart, read from the source with `ast`."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from tests.conftest import PROJECT

HALVES = {"dukd_cache": PROJECT / "pipeline" / "dukd_cache", "dukd_train": PROJECT / "trainer" / "dukd_train"}

ROOMS = {
    "dukd_cache": (
        "cli",
        "commands",
        "command_line",
        "check",
        "build",
        "plan",
        "networks",
        "format",
        "places",
        "pictures",
        "presets",
        "settings",
        "system",
    ),
    "dukd_train": (
        "cli",
        "sweeps",
        "report",
        "using",
        "core",
        "keeping",
        "data",
        "watching",
        "presets",
        "settings",
        "objective",
        "measures",
        "scoring",
        "errors",
    ),
}
"""From the top of the house to its ground: a room imports from itself and from those below it."""

CONTRACT = {"command_line", "networks", "format", "places", "pictures", "settings", "system"}
"""Rooms of the cache's half that the trainer may enter: none of them asks a teacher or plans a crop."""

STARTS_PROGRAMS = {"study.py", "run_process.py", "provenance.py"}
"""Modules that hold options of the programs that they start."""

MODULES = [path for root in HALVES.values() for path in sorted(root.rglob("*.py"))]


def half_of(path: Path) -> str:
    return next(half for half, root in HALVES.items() if path.is_relative_to(root))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


@cache
def imports_of(path: Path) -> list[str]:
    half = half_of(path)
    return [*imported(nodes_of(path), [half, *path.relative_to(HALVES[half]).parent.parts])]


def imported(nodes: Iterable[ast.AST], package: list[str]) -> Iterator[str]:
    """Full names of what a module of `package` imports, anywhere in it: `dukd_cache.files`, however it is said."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, [above, node.module]))
            yield from (f"{origin}.{name.name}" for name in node.names)


def rooms_of(half: str, names: Iterable[str]) -> set[str]:
    """Rooms of `half` among imported names; `__version__` is of the package itself."""
    parts = [name.split(".") for name in names]
    return {part[1] if len(part) > 1 else "*" for part in parts if part[0] == half} - {"__version__"}


def room_of(path: Path) -> str:
    return path.relative_to(HALVES[half_of(path)]).with_suffix("").parts[0]


def identifier(path: Path) -> str:
    return f"{half_of(path)}/{path.relative_to(HALVES[half_of(path)]).as_posix()}"


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_halves_are_joined_by_the_contract_only(path: Path) -> None:
    if half_of(path) == "dukd_cache":
        assert not [name for name in imports_of(path) if name.split(".")[0] == "dukd_train"]
    else:
        assert rooms_of("dukd_cache", imports_of(path)) <= CONTRACT


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_a_room_imports_only_what_lies_below_it(path: Path) -> None:
    half, room = half_of(path), room_of(path)
    if room in ("__init__", "__main__"):  # the public face, and how it is run: above all
        return
    below = ROOMS[half][ROOMS[half].index(room) :]
    assert rooms_of(half, imports_of(path)) <= set(below)


@pytest.mark.parametrize("half", HALVES)
def test_each_room_says_what_it_is(half: str) -> None:
    folders = {path.name for path in HALVES[half].iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(ROOMS[half])
    for name in folders:
        said = ast.get_docstring(ast.parse((HALVES[half] / name / "__init__.py").read_text(encoding="utf-8")))
        assert said, name
        assert re.search(r"^Enters: .*Leaves: ", said, re.MULTILINE | re.DOTALL), name


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_only_command_lines_import_typer(path: Path) -> None:
    if room_of(path) not in ("cli", "command_line"):
        assert not [name for name in imports_of(path) if name.split(".")[0] in ("typer", "click")]


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_names_say_what_a_module_is_for(path: Path) -> None:
    assert not {"utils", "util", "helpers", "misc", "common"} & {*path.with_suffix("").parts[-2:]}


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_only_command_lines_speak_of_options(path: Path) -> None:
    """Elsewhere a setting has its Python name, in backticks; a whole command in backticks may be quoted."""
    if room_of(path) in ("cli", "command_line", "commands") or path.name in STARTS_PROGRAMS:
        return
    texts = map(text_of, nodes_of(path))
    assert not [text for text in texts if re.search(r"(?<![\w-])--\w", re.sub(r"`[\w-]+ [^`]+`", "", text))]


def text_of(node: ast.AST) -> str:
    """What a literal says, also one with values in it."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "X" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_there_are_modules_to_read() -> None:
    assert {half_of(path) for path in MODULES} == set(HALVES)
    assert len(MODULES) > 20


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import dukd_cache.plan.crops", {"plan"}),
        ("import numpy, dukd_cache.plan.crops as p", {"plan"}),
        ("from dukd_cache import check, __version__", {"check"}),
        ("from dukd_cache.build import build, Shard", {"build"}),
        ("def f():\n    from dukd_cache.format.tar import TarReader", {"format"}),
        ("import dukd_cache", {"*"}),
        ("from .objective import x\nimport dukd_train.data.batches", set()),
    ],
)
def test_every_way_to_import_is_seen(source: str, expected: set[str]) -> None:
    assert rooms_of("dukd_cache", imported(ast.walk(ast.parse(source)), ["dukd_train"])) == expected


def test_relative_imports_are_resolved() -> None:
    source = "from . import a\nfrom .b import c\nfrom ..d import e\nfrom .. import f"
    assert list(imported(ast.walk(ast.parse(source)), ["dukd_cache", "format"])) == [
        "dukd_cache.format.a",
        "dukd_cache.format.b.c",
        "dukd_cache.d.e",
        "dukd_cache.f",
    ]


@pytest.mark.parametrize(
    "module",
    [
        "dukd_cache",
        "dukd_cache.cli",
        "dukd_cache.commands.status",
        "dukd_train",
        "dukd_train.cli",
        "dukd_train.settings",
    ],
)
def test_packages_command_lines_and_settings_start_without_loading_torch(module: str) -> None:
    """`--help` must not take seconds, nor `status`: heavy imports wait in the functions that need them."""
    heavy = {"torch", "spandrel", "matplotlib", "webdataset", "torchvision"}
    if module not in ("dukd_cache.commands.status", "dukd_train.settings"):
        heavy |= {"numpy", "pydantic"}
    code = f"import sys, {module}; print(*({heavy} & set(sys.modules)))"
    path = os.pathsep.join(str(root.parent) for root in HALVES.values())
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("half", HALVES)
def test_what_is_loaded_later_is_what_type_checkers_see(half: str) -> None:
    face, tree = import_module(half), ast.parse((HALVES[half] / "__init__.py").read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {name.name: node.module for node in guard.body if isinstance(node, ast.ImportFrom) for name in node.names}
    (later,) = [ast.literal_eval(node.args[1]) for node in ast.walk(guard) if isinstance(node, ast.Call)]
    assert {name for name in seen if name in face.__all__} == later.keys()
    for name, home in later.items():
        assert home in (seen[name], f"{seen[name]}.{name}")
    assert {*face.__all__} <= {*dir(face)}
    assert all(getattr(face, name).__doc__ for name in face.__all__)
    assert (HALVES[half] / "py.typed").read_bytes() == b""
