"""What both programs say of themselves: help that fits a terminal, a version, completion; and how soon."""

import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from dukd_cache import __version__
from dukd_cache import cli as cache_cli
from dukd_train import cli as train_cli

Say = Callable[..., str]

PROGRAMS = pytest.mark.parametrize("cli", [cache_cli, train_cli])


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """What a program prints, at 80 columns; it ends with 0."""
    monkeypatch.setenv("COLUMNS", "80")

    def say(cli: ModuleType, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["program", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        return capsys.readouterr().out

    return say


@PROGRAMS
def test_h_is_help(said: Say, cli: ModuleType) -> None:
    assert said(cli, "-h") == said(cli, "--help")
    assert said(cli, "schema", "-h") == said(cli, "schema", "--help")


@PROGRAMS
def test_version(said: Say, cli: ModuleType) -> None:
    assert said(cli, "--version") == f"dukd {__version__}\n"


@pytest.mark.parametrize("command", ["build", "plan"])
def test_help_of_many_options_fits_a_page(said: Say, command: str) -> None:
    text = said(cache_cli, command, "-h")
    lines = text.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    for group in ("Options", "Images and views", "Teacher", "Store"):
        assert f"╭─ {group} ─" in text
    assert "─ Settings ─" not in text, "a setting without a group"


def test_every_command_has_help_of_a_page(said: Say) -> None:
    for cli in (cache_cli, train_cli):
        for command in cli.app.registered_commands:
            assert len(said(cli, command.name or command.callback.__name__, "-h").splitlines()) <= 60


@pytest.mark.parametrize(("module", "program"), [("dukd_cache", "dukd-cache"), ("dukd_train", "dukd-train")])
def test_shells_complete(module: str, program: str) -> None:
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    asked = {"PATH": "/usr/bin", variable: "complete_bash", "COMP_WORDS": f"{program} sch", "COMP_CWORD": "1"}
    code = f"from {module}.cli import main; main()"
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=asked | path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["schema"], done
