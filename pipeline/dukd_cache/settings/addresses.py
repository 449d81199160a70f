"""What people write for a place, in options and settings: `cache`, `~/cache`, `file:///data/cache`, `s3://bucket/cache`.

All options and settings of both commands that name a place go through here.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from dukd_cache.system.errors import PlaceError

Address = str | Path
"""A folder, as a path or as text (`~/cache`, `file:///data/cache`), or what fsspec opens: `s3://bucket/cache`, `gs://…`."""

_OF_THIS_MACHINE = ("file", "local")

_KIND = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)
"""`s3:…`; one letter is no kind but a drive of Windows."""

_OF_WINDOWS = re.compile(r"([A-Za-z]):\\(.*)", re.DOTALL)

_CODE = re.compile(r"python:(.+):(\w+)", re.DOTALL)

_KINDS = ("abfs", "abfss", "az", "ftp", "gcs", "gs", "hdfs", "http", "https", "memory", "s3", "s3a", "sftp", "ssh")
"""After these a colon begins an address, however many slashes were lost."""


def parsed(text: str) -> Address:
    """A folder or file of this machine as a path, anything elsewhere as an address that fsspec opens.

    `~` and `~name` are home folders. A `file:` address may have none, one or three slashes, and has `%20` for a space.

    Raises:
        PlaceError: it is empty, an address with a slash too few, or a file of another machine; there is no such home.
    """
    if not text.strip() or "\0" in text:
        raise PlaceError("expected a path or an address", f"{text!r}")
    if (found := _OF_WINDOWS.fullmatch(text)) and not os.path.lexists(text):
        there = found[2].replace("\\", "/")
        raise PlaceError(f"a path of Windows: in WSL that is /mnt/{found[1].lower()}/{there}", text)
    found = _KIND.fullmatch(text)
    kind, rest = (found[1].lower(), found[2]) if found else ("", "")
    if kind in _OF_THIS_MACHINE:
        return _at_home(_path_of(text, rest))
    if rest.startswith("//"):
        return f"{kind}:{rest}"
    if "://" in text:  # of several kinds: `simplecache::s3://bucket/cache`
        return text
    if kind in _KINDS or rest.startswith("/"):
        raise PlaceError(f"did you mean {kind}://{rest.lstrip('/')}?", text)
    return _at_home(text)


def local_path(text: str) -> Path:
    """As `parsed`, where only a file or folder of this machine will do.

    Raises:
        PlaceError: as there; or it is elsewhere.
    """
    found = parsed(text)
    if isinstance(found, str):
        raise PlaceError("expected a file or folder of this machine: copy it here, and give its path", text)
    return found


def network_file(text: str) -> Path:
    """A file of this machine, or the user's own code: `python:FILE.py:FUNCTION`, a path for those who only pass it on.

    Raises:
        PlaceError: as `local_path`; or code that names no function.
    """
    if not text.startswith("python:"):
        return local_path(text)
    if (found := code_of(Path(text))) is None:
        raise PlaceError("expected python:FILE.py:FUNCTION", text)
    return _code(local_path(str(found[0])), found[1])


def code_of(path: Path) -> tuple[Path, str] | None:
    """File and function of `python:FILE.py:FUNCTION`; None for a file of weights."""
    found = _CODE.fullmatch(str(path))
    return (Path(found[1]), found[2]) if found else None


def absolute(path: Path) -> Path:
    """Also of the user's own code."""
    code = code_of(path)
    return path.absolute() if code is None else _code(code[0].absolute(), code[1])


def _code(file: Path, function: str) -> Path:
    return Path(f"python:{file}:{function}")


def refuse_squeezed(path: Path) -> None:
    """A path has one slash where an address has two: `Path("s3://bucket")` would be a folder named `s3:`.

    Raises:
        PlaceError: `path` looks like that.
    """
    found = _KIND.fullmatch(str(path))
    if found and (found[2].startswith("/") or found[1] in _KINDS):
        raise PlaceError(f"an address is given as text, not as a path: {found[1]}://{found[2].lstrip('/')}", path)


def _path_of(text: str, rest: str) -> str:
    """What an address names that begins with `file:`; `rest` follows that."""
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost") and not host.startswith("~"):
            raise PlaceError(f"names a file of the machine {host!r}: expected file:///path, or a path", text)
        rest = f"{host}{slash}{path}" if host.startswith("~") else f"/{path}"
    if not rest.strip("/"):
        raise PlaceError("expected file:///path, or a path", text)
    return unquote(rest)


def _at_home(text: str) -> Path:
    if not text.startswith("~"):
        return Path(text)
    path = os.path.expanduser(text)  # what is no home it leaves as it is
    if path == text and not os.path.lexists(text):
        raise PlaceError(f"there is no home folder {text.partition('/')[0]}", text)
    return Path(path)
