"""How both commands end: a user's mistake is one line and exit code 2, an interruption one line and 130.

What the system refuses (a full disk, a folder without write permission) counts as something the user can mend, too.
"""

import sys
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from dukd_cache.errors import DukdError

_INTERRUPTED = 130


def run_app(app: typer.Typer, name: str) -> NoReturn:
    """Run `app` on the command line's words and exit."""
    try:
        code = app(prog_name=name, standalone_mode=False)
    except DukdError as error:
        _end(name, str(error), 2)
    except TyperException as error:
        _end(name, getattr(error, "format_message", error.__str__)(), 2)
    except OSError as error:
        _end(name, f"{error.filename}: {error.strerror}" if error.filename else str(error), 2)
    except typer.Abort:
        _end(name, "stopped", _INTERRUPTED)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # what typer makes of a KeyboardInterrupt
        _end(name, "interrupted; the same command goes on where this one stopped", _INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _end(name: str, message: str, code: int) -> NoReturn:
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
