"""Each option and argument of each command with awkward values: one line that names it, exit code 2, nothing left.

Both are found by walking the commands, so a new option is tried without a word here; a new command needs a line in
`LINES`. A value that an option rightly takes stands in `TAKEN`.
"""

import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Literal, NoReturn, get_args, get_origin

import pytest
import torch
import yaml
from tests.cache.samples import save_photos
from typer.main import get_command

from dukd_cache import cli as cache_cli
from dukd_cache import networks
from dukd_cache.command_line.words import named
from dukd_cache.system.errors import printable
from dukd_train import cli as train_cli

PROGRAMS: Mapping[str, ModuleType] = {"dukd-cache": cache_cli, "dukd-train": train_cli}

_BUILD = {
    "--hr": "photos",
    "--lr": "lr",
    "--teacher": "teacher.safetensors",
    "--out": "new",
    "--patch": "8",
    "--base": "1",
    "--device": "cpu",
}

LINES: Mapping[str, Mapping[str, str]] = {
    "dukd-cache build": _BUILD,
    "dukd-cache plan": _BUILD,
    "dukd-cache inspect": {"CACHE": "cache", "--teacher": "teacher.safetensors", "--sample": "1", "--device": "cpu"},
    "dukd-cache verify": {
        "CACHE": "cache",
        "--teacher": "teacher.safetensors",
        "--sample": "1",
        "--device": "cpu",
        "--hr": "photos",
    },
    "dukd-cache answer": {"CACHE": "cache", "--teacher": "teacher.safetensors", "--device": "cpu"},
    "dukd-cache convert": {"SRC": "cache", "DST": "new", "--store": "zarr"},
    "dukd-cache status": {"CACHE": "cache"},
    "dukd-cache presets": {"NAME": "dukd"},
    "dukd-cache schema": {},
    "dukd-cache degrade": {"--hr": "photos", "--out": "new", "--scale": "2"},
    "dukd-cache multiply": {"--hr": "photos", "--out": "new", "--smallest": "8"},
    "dukd-train run": {"--config": "run.yaml", "--out": "new"},
    "dukd-train eval": {
        "--weights": "run/student.safetensors",
        "--hr": "photos",
        "--lr": "lr",
        "--json": "new.json",
        "--device": "cpu",
    },
    "dukd-train compare": {"RUNS": "run", "--out": "new", "--hr": "photos", "--device": "cpu"},
    "dukd-train upscale": {
        "WEIGHTS": "run/student.safetensors",
        "IN": "photos/photo_0.png",
        "OUT": "new.png",
        "--device": "cpu",
    },
    "dukd-train export": {"WEIGHTS": "run/student.safetensors", "--to": "safetensors", "--out": "new.safetensors"},
    "dukd-train presets": {"NAME": "small"},
    "dukd-train schema": {},
    "dukd-train sweep": {"--config": "run.yaml", "--grid": "seed=0", "--out": "sweep", "--hr": "photos"},
    "dukd-train study": {"FILE": "study.yaml", "--out": "study"},
}
"""A small, right command line of each command; its files are those of `material`. One option is changed at a time."""

WORDS = {
    "empty": "",
    "blanks": "  ",
    "misspelt": "nope",
    "two lines": "a\nb",
    "no UTF-8": os.fsdecode(b"a\xffb"),
}
NUMBERS = {
    "negative": "-1",
    "zero": "0",
    "huge": str(10**30),
    "fraction": "2.5",
    "nan": "nan",
    "inf": "inf",
}
PLACES = {
    "home": "~",
    "in home": "~/nope",
    "another's home": "~nobody-of-this-name/nope",
    "file:": "file:",
    "file address": "file:/proc/nope",
    "one slash": "s3:/bucket",
    "one slash, http": "http:/host/nope",
    "dangling": "dangling",
    "below dangling": "dangling/nope",
    "folder": "folder",
    "file": "file",
    "below a file": "file/nope/nope",
    "of the system": "/proc/nope/nope",
    "too long": "a" * 300,
}
"""`~` is a file: nothing can be made in it."""

TAKEN = (
    ("*", "--*", "blanks around", "they say nothing else"),
    ("dukd-cache build|plan", "--zoom-in --zoom-out", "zero", "leaves the view out"),
    ("dukd-cache build|plan", "--context", "zero", "none"),
    ("dukd-cache build|plan|answer", "--self-ensemble --values", "in capitals", "its words are numbers"),
    ("dukd-cache build|plan|degrade|multiply", "--seed", "negative|zero|huge", "all seeds are as good"),
    ("dukd-cache multiply", "--turns", "fraction", "degrees"),
    ("dukd-cache multiply", "--blends", "zero", "none"),
    ("dukd-cache inspect|verify", "--sample", "huge", "as many as there are"),
    ("dukd-cache answer", "--name", "misspelt|nan|inf|dangling|folder|file", "a name like any other"),
    ("dukd-train compare", "--pictures", "huge", "as many as there are"),
    ("dukd-train sweep|study", "--jobs", "huge", "as many as there are runs"),
    ("dukd-train *", "--tile", "zero|huge", "whole images"),
    ("dukd-train *", "--tile-overlap", "zero", "none"),
    ("dukd-cache build|plan|degrade|multiply", "--out", "misspelt|two lines|no UTF-8", "a name like any other"),
    (
        "dukd-cache convert|inspect|plan",
        "--picture --html --header DST",
        "misspelt|two lines|no UTF-8",
        "a name like any other",
    ),
    ("dukd-train run|compare|sweep|study", "--out", "misspelt|two lines|no UTF-8", "a name like any other"),
    ("dukd-train eval|upscale", "--json OUT", "misspelt|two lines|no UTF-8", "a name like any other"),
    ("dukd-train export", "--card", "misspelt|two lines|no UTF-8", "a name like any other"),
    ("dukd-cache inspect|plan", "--picture --html --header", "file|home", "a file is replaced"),
    ("dukd-train eval", "--json", "file|home", "a file is replaced"),
    ("dukd-cache degrade|multiply", "--out", "folder", "files of others may lie there"),
    ("dukd-train upscale", "OUT", "folder", "files of others may lie there"),
    ("dukd-train sweep|study", "--out", "folder", "files of others may lie there"),
    ("dukd-cache plan", "--out", "file address|of the system", "a plan writes nothing"),
)
"""Commands, options, values that they rightly take, and why."""

OF_RAY = ("--ray-address", "--workers", "--cpus-per-worker", "--gpus-per-worker", "--shards-per-task")
"""Options of `dukd-cache build` that it takes with `--engine ray` only, which `LINES` lacks."""

SLOW = ("dukd-train compare", "dukd-train sweep", "dukd-train study")
"""What they take is left to tests of their own: a report takes seconds."""

SECONDS = 10
"""A value that is taken may not start anything longer."""

_PROGRESS = re.compile(r".+: \d+/\d+ [a-z]+, [\d.]+ [a-z]+/s( in \d+ s|, \d+ s left)")
"""What `progress` says where there is no terminal."""


@dataclass(frozen=True)
class Ended:
    code: int | None
    """None: it ended with a traceback."""
    output: str
    errors: list[str]
    """Lines of standard error that do not tell the progress; or of the traceback."""


def _too_long(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError(f"still at work after {SECONDS} s")


def ended(program: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> Ended:
    """`program words` in this process, with streams like a console's."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace")]
    with monkeypatch.context() as patch:
        if any(re.search("(^|=)~", word) for word in words):
            patch.setenv("HOME", os.path.abspath("file"))
        patch.setattr(sys, "argv", [program, *words])
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        before = signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        failure: list[str] = []
        code: int | None = None
        try:
            PROGRAMS[program].main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else None
        except Exception as error:
            failure = [line.strip() for line in traceback.format_exception(error)[-2:]]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    for stream in streams:
        stream.flush()
    output, errors = (os.fsdecode(stream.buffer.getvalue()) for stream in streams)  # type: ignore[attr-defined]
    return Ended(code, output, failure or [line for line in errors.splitlines() if not _PROGRESS.fullmatch(line)])


def commands() -> Iterator[tuple[str, Any]]:
    for program, module in PROGRAMS.items():
        for name, command in get_command(module.app).commands.items():  # type: ignore[attr-defined]
            yield f"{program} {name}", command


PARAMETERS = [(name, parameter) for name, command in commands() for parameter in command.params]


def kind_of(parameter: Any) -> type:
    kind = parameter.type_descriptor.annotation
    return str if get_origin(kind) is Literal else (get_args(kind) or (kind,))[0]


def values(parameter: Any) -> Mapping[str, str]:
    """What is awkward for a parameter of its type, by what is wrong with it."""
    kind = kind_of(parameter)
    if kind is bool:
        return {"a switch's value": "true"}
    if kind in (int, float):
        return WORDS | NUMBERS | {"blanks around": " 2 "}
    if get_origin(parameter.type_descriptor.annotation) is Literal:
        word = get_args(parameter.type_descriptor.annotation)[0]
        return WORDS | {"in capitals": word.upper(), "within blanks": f" {word} "}
    if kind is Path or parameter.type_descriptor.parameter_info.parser:
        return WORDS | PLACES
    return WORDS | NUMBERS | PLACES


def line_of(command: str, **changes: str | None) -> list[str]:
    """The words of `LINES`; None leaves an option out."""
    line = {name: given for name, given in {**LINES[command], **changes}.items() if given is not None}
    options = [f"{option}={given}" for option, given in line.items() if option.startswith("-")]
    arguments = [given for argument, given in line.items() if not argument.startswith("-")]
    return [command.split()[1], *options, "--", *arguments]


def is_taken(command: str, name: str, why: str) -> bool:
    return (command, name) not in [("dukd-cache build", option) for option in OF_RAY] and any(
        any(fnmatchcase(command, f"{theirs.split()[0]} {each}") for each in theirs.split()[-1].split("|"))
        and any(fnmatchcase(name, option) for option in options.split())
        and why in whys.split("|")
        for theirs, options, whys, _ in TAKEN
    )


Tree = Mapping[str, bytes | str | None]


def tree(folder: Path) -> Tree:
    """All that lies below `folder`, byte for byte."""

    def content(path: Path) -> bytes | str | None:
        if path.is_symlink():
            return os.readlink(path)
        return path.read_bytes() if path.is_file() else None

    return {os.fspath(path.relative_to(folder)): content(path) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder of all commands, with what `LINES` names."""
    place = tmp_path_factory.mktemp("options")
    (place / "file").write_text("no image, no weights, no settings\n")
    (place / "folder").mkdir()
    (place / "folder" / "notes.txt").write_text("nothing of dukd's\n")
    (place / "dangling").symlink_to("nowhere/at/all")
    save_photos(place / "photos", [(48, 52)])
    torch.manual_seed(3)
    networks.save(networks.build("EDSR", 2, {"channels": 4, "blocks": 1}), place / "teacher.safetensors", {})
    config = {
        "method": "kd",
        "cache": "cache",
        "student": {"settings": {"channels": 4, "blocks": 1}},
        "steps": 1,
        "batch": 1,
        "device": "cpu",
        "data": {"workers": 0},
    }
    (place / "run.yaml").write_text(yaml.safe_dump(config))
    study = {"caches": {"c": "cache"}, "config": "./run.yaml", "rows": {"a": {}}, "hr": {"photos": "photos"}}
    (place / "study.yaml").write_text(yaml.safe_dump(study))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for words in (
            "dukd-cache degrade --hr photos --out lr --scale 2",
            "dukd-cache build --hr photos --teacher teacher.safetensors --out cache --patch 8 --base 1 --device cpu",
            "dukd-train run --config run.yaml --out run",
            "dukd-train run --config run.yaml --out sweep/seed=0",
            "dukd-train run --config run.yaml --out study/c-a,seed=0",
        ):
            program, *rest = words.split()
            done = ended(program, rest, patch)
            assert done.code == 0, done
        yield place


@pytest.mark.parametrize(
    ("command", "parameter"), PARAMETERS, ids=[f"{command} {named(parameter)}" for command, parameter in PARAMETERS]
)
def test_an_awkward_value(command: str, parameter: Any, material: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, before, faults = named(parameter), tree(material), list[str]()
    for why, value in values(parameter).items():
        taken = is_taken(command, name, why)
        if taken and command in SLOW:
            continue
        done = ended(command.split()[0], line_of(command, **{name: value}), monkeypatch)
        after = tree(material)
        if taken:
            found = "" if done.code == 0 else str(done)
        else:
            found = fault_of(done, [name, name.strip("-"), *(shown_as(value) if kind_of(parameter) is not int else ())])
            changed = [each for each in after.keys() | before.keys() if after.get(each, "") != before.get(each, "")]
            found += f"; left or changed: {sorted(changed)}" if changed else ""
        restore(material, before, after)
        if found:
            faults.append(f"{why} ({value[:40]!r}): {found}")
    assert not faults, "\n" + "\n".join(faults)


def fault_of(done: Ended, names: list[str]) -> str:
    """What is wrong with the end of a mistake; empty where it is one line that has one of `names`, and exit code 2."""
    if done.code != 2 or len(done.errors) != 1 or done.output:
        return str(done)
    return "" if any(name in done.errors[0] for name in names) else f"names none of {names}: {done.errors[0]}"


def shown_as(value: str) -> Iterator[str]:
    """How a line may name a word, or a place: also by what is in the way to it."""
    if value.strip():
        home = os.path.abspath("file")
        text = home if value == "~" else re.sub("^~/", f"{home}/", value.removeprefix("file:"))
        yield " ".join(printable(text).split())
        yield from (f": {each}: " for folder in Path(text).parents for each in (folder, folder.absolute()))


def restore(folder: Path, before: Tree, after: Tree) -> None:
    for name in sorted(after.keys() - before.keys(), reverse=True):
        path = folder / name
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, content in before.items():
        if after.get(name, "") != content and isinstance(content, bytes):
            (folder / name).write_bytes(content)


@pytest.mark.usefixtures("material")
@pytest.mark.parametrize(("command", "parameter"), PARAMETERS)
def test_a_word_that_is_left_out(command: str, parameter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name, program = named(parameter), command.split()[0]
    if parameter.required:
        arguments = [each for each in LINES[command] if not each.startswith("-")]
        left_out = arguments[arguments.index(name) :] if name in arguments else [name]
        done = ended(program, line_of(command, **dict.fromkeys(left_out)), monkeypatch)
        assert not fault_of(done, [f"{program}: {name} is missing: "])
    if name.startswith("-") and kind_of(parameter) is not bool:
        done = ended(program, [command.split()[1], name], monkeypatch)
        assert not fault_of(done, [f"{program}: {name}: expected a value, got nothing"])


def test_both_programs_refuse_a_word_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {
        (program, *ended(program, [*words.split(), "--device=tpu"], monkeypatch).errors)
        for program, words in (
            ("dukd-cache", "build --hr x --out y"),
            ("dukd-cache", "verify x"),
            ("dukd-train", "eval --weights x --hr y"),
            ("dukd-train", "upscale x y z"),
        )
    }
    says = "unknown --device 'tpu': did you mean 'cpu'? (valid: auto, cpu, cuda)"
    assert lines == {(program, f"{program}: {says}") for program in PROGRAMS}


@pytest.mark.usefixtures("material")
@pytest.mark.parametrize(("command", "found"), [*commands()])
def test_a_word_too_many(command: str, found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if all(each.nargs == 1 for each in found.params):
        done = ended(command.split()[0], [*line_of(command), "more"], monkeypatch)
        assert not fault_of(done, [f"unexpected 'more': {command.split()[1]} takes "])
