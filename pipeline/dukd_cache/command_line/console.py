"""How both commands begin, and how they end: a user's mistake is one line and exit code 2, a signal one line and
128 and its number: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP (a terminal that was closed).

What the system refuses (a full disk, a folder without write permission) counts as something the user can mend, too.
"""

import errno
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from types import FrameType
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer.core import TyperCommand, TyperOption
from typer.exceptions import TyperException

from dukd_cache import __version__
from dukd_cache.command_line.words import explain, in_options, named
from dukd_cache.system.errors import DukdError, SettingError, ShardCorrupt
from dukd_cache.system.terminal import say, speaks

T = TypeVar("T")

_INTERRUPTED = 128 + signal.SIGINT
_ENDED = {signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
_MEND = "`dukd-cache verify CACHE --repair` drops what is broken, and the build's command writes it anew"
_GO_ON = "to resume, run the same command again"

_MAKE_ROOM = "make room, then run the same command again"
_LOOK = "check the disk, or the network to it, then run the same command again"
_WAYS_OUT = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: "files there may not be that large: choose another place, or raise the limit (`ulimit -f`)",
    errno.EROFS: "choose another place",
    errno.EIO: _LOOK,
    errno.ESTALE: _LOOK,
    errno.ETIMEDOUT: _LOOK,
    errno.ENOTCONN: _LOOK,
    errno.EMFILE: "let more files be open (`ulimit -n`)",
    errno.ENAMETOOLONG: "choose a shorter name",
}


class _Terminated(BaseException):
    """SIGTERM or SIGHUP: not an Exception, so that nothing on the way takes it for a failure of its own."""

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)


def program(about: str) -> typer.Typer:
    """The app of a program, to which commands are added."""
    app = typer.Typer(
        help=about,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def main(
        _version: Annotated[
            bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit.")
        ] = False,
    ) -> None:
        pass

    app.registered_callback.help = about  # type: ignore[union-attr]
    return app


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"dukd {__version__}")
        raise typer.Exit


class EachOnce(TyperCommand):
    """A command that refuses an option of one value that is given again: parsers keep the last, in silence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=[*args])
        for option, times in Counter(each for each in order if isinstance(each, TyperOption)).items():
            if times > 1 and not (option.multiple or option.is_flag or option.count):
                raise SettingError(f"{max(option.opts, key=len)}: given {times} times, takes one value")
        return super().parse_args(ctx, args)


def run_app(app: typer.Typer, name: str, called_here: Mapping[str, str], model: Callable[[], type[Any]]) -> NoReturn:
    """Run `app` on the command line's words and exit.

    `called_here` says what a command of another name is called here; `model` loads that of the commands with `--set`.
    """
    for command in app.registered_commands:
        if command.cls is TyperCommand:
            command.cls = EachOnce
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are no UTF-8 go out as they came in
    before = [(number, signal.signal(number, _stop)) for number in _handled()]
    try:
        code = app(prog_name=name, standalone_mode=False)
        if refused := _refused_output():
            raise refused
    except ShardCorrupt as error:
        _end(name, f"{error}; {_MEND}", 2)
    except DukdError as error:
        _end(name, in_options(str(error), _options(app)), 2)
    except TyperException as error:
        _end(name, explain(error, called_here, model), 2)
    except OSError as error:
        _end(name, _refusal(error if error.filename else _refused_output() or error), 2)
    except typer.Abort:
        _end(name, "stopped", _INTERRUPTED)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except _Terminated as error:
        _end(name, f"{_ENDED[error.number]}; {_GO_ON}", 128 + error.number)
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    if code == _INTERRUPTED:  # what typer makes of a KeyboardInterrupt
        _end(name, f"interrupted; {_GO_ON}", _INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _options(app: typer.Typer) -> dict[str, str]:
    """The options of all commands by the names of their parameters."""
    command: Any = typer.main.get_command(app)
    commands = getattr(command, "commands", {command.name: command}).values()
    return {each.name: named(each) for of in commands for each in of.params if each.opts[0].startswith("-")}


def _handled() -> list[signal.Signals]:
    """Signals that end a command in good order; `nohup` lets SIGHUP be ignored."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


def _refused_output() -> OSError | None:
    """Why what was printed cannot be written; asked for before the end, while it can still be told."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left must not fail again, at exit
        if error.errno == errno.EPIPE:  # whoever reads it has seen enough
            sys.exit(1)
        return OSError(error.errno, error.strerror, "what this command prints")
    return None


def _refusal(error: OSError) -> str:
    """The system's words, with the file and, where one is known, the way out."""
    what = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    way_out = _WAYS_OUT.get(error.errno or 0, "")
    return f"{what}{error.strerror or error}{way_out and '; '}{way_out}"


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    """Raise once; what is cleaned up on the way out is not to be interrupted again (SIGKILL always works)."""
    for other in (signal.SIGINT, *_ENDED):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt if number == signal.SIGINT else _Terminated(number)


def _end(name: str, message: str, code: int) -> NoReturn:
    if speaks():
        say(f"{name}: {' '.join(message.split())}")
    sys.exit(code)
