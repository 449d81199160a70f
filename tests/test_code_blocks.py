"""Each block of code in the documents runs, or is understood by what it is written for, or is marked as output.

Those of the tutorial and of the pages on Python, weights and clusters run, and Python on using and the cache format:
in `test_docs`, `test_recipes`, and the tests of what they speak of.
"""

import ast
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from tests.test_docs import PAGES
from tests.test_options import commands

from dukd_cache.commands.config import CacheConfig
from dukd_train.settings import TrainConfig

COMMANDS = dict(commands())
DIRECTIVES = {"{toctree}", "{eval-rst}", "{commands}"}
BEFORE = {"benchmarks.md", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
"""Pages with indented blocks: commands that stand for themselves."""


class Block(NamedTuple):
    page: Path
    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    found = re.findall(r"^```(\S*).*?\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(page, language, text) for language, text in found]


BLOCKS = [block for page in PAGES if page.name != "clusters.md" for block in blocks_of(page)]
"""But those that `test_recipes` runs."""


def of(language: str) -> Any:
    """Runs a test with each block of a language."""
    blocks = [block for block in BLOCKS if block.language == language]
    names = [f"{block.page.stem}-{number}" for number, block in enumerate(blocks)]
    return pytest.mark.parametrize("block", blocks, ids=names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_says_what_it_is(page: Path) -> None:
    assert {block.language for block in blocks_of(page)} <= {"bash", "python", "yaml", "text"} | DIRECTIVES
    if page.name not in BEFORE:
        assert (
            re.findall(r"(?<=\n\n)    \S.*", re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))) == []
        )


@of("python")
def test_python_parses(block: Block) -> None:
    ast.parse(block.text)


@of("bash")
def test_commands_are_understood(block: Block) -> None:
    """By the shell, and each of ours by its own options; what it sets is checked as it would be."""
    assert subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=True).stderr == ""
    text = re.sub(r"\\\n\s*", " ", block.text)
    for program, name, rest in re.findall(r"^\s*(dukd-cache|dukd-train) +([a-z]+)(.*)$", text, re.MULTILINE):
        words = shlex.split(rest.partition(" >")[0], comments=True)
        if "…" not in words:
            COMMANDS[f"{program} {name}"].make_context(name, words)
            check_settings(name, [*pairwise(words)])


def check_settings(command: str, pairs: list[tuple[str, str]]) -> None:
    changes = [value for option, value in pairs if option == "--set"]
    config = next((value for option, value in pairs if option == "--config"), "")
    if command in ("run", "sweep"):
        TrainConfig.load(config or "small", overrides=["cache=cache", *changes])
    elif command in ("build", "plan") and changes:
        CacheConfig.load("dukd", overrides=["hr=photos", "teacher={teacher: a.pth}", *changes])


@of("yaml")
def test_settings_are_valid(block: Block) -> None:
    """Those of ours, in a file with what else must be there."""
    loaded = [*yaml.safe_load_all(block.text)]
    for model, needed in ((CacheConfig, {"hr": "photos", "scale": 2}), (TrainConfig, {"cache": "cache"})):
        ours = [file for file in loaded if file and {*file} <= {*model.model_fields}]
        for file in ours:
            model(**{name: value for name, value in needed.items() if "teacher" not in file or name != "scale"} | file)
