"""The objects of a store below an address, through fsspec: S3, Google Cloud, Azure, or the memory of this process.

An object is put whole or not at all, so nothing is renamed here: a file is written on this machine first, then put.
Every question is asked again when its answer is lost on the way; the libraries below do that too, but not for all.
"""

import errno
import importlib.util
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import fsspec  # type: ignore[import-untyped]
from fsspec.core import url_to_fs  # type: ignore[import-untyped]
from fsspec.registry import known_implementations  # type: ignore[import-untyped]

from dukd_cache.places import object_lock
from dukd_cache.places.folder import Folder
from dukd_cache.system.errors import PlaceError
from dukd_cache.system.extras import needs
from dukd_cache.system.files import naming, written_as
from dukd_cache.system.terminal import tell_once

T = TypeVar("T")

_WHOLE_OR_NOTHING = ("abfs", "abfss", "az", "gcs", "gs", "memory", "s3", "s3a")
"""Kinds of stores where a put is whole or nothing and listed at once. Elsewhere caches can be read, not written."""

_PAUSE_S = 1.0
"""Before a question is asked again, once: the libraries do that, too, but not where an answer is cut."""

_CREATING = threading.Lock()
"""So that of the threads of this process one finds no object and puts it: fsspec's memory does not see to that."""

_OF_PATTERNS = "*?["
"""In names that are removed at once, fsspec takes them for patterns: others would be removed."""

_FINAL = (FileNotFoundError, FileExistsError, PermissionError, NotImplementedError, ValueError)
"""Answers that asking again would not change."""


class Objects:
    """The objects below `address`.

    Raises:
        PlaceError: the address is of an unknown kind, or its library is not installed.
    """

    def __init__(self, address: str) -> None:
        kind, _, rest = address.partition("://")
        self._address = f"{kind}://{rest.rstrip('/')}"
        self._root = _opened(self._address)[1]
        self._lock: object_lock.ObjectLock | None = None

    def __str__(self) -> str:
        return self._address

    def __reduce__(self) -> tuple[type["Objects"], tuple[str]]:
        return Objects, (self._address,)

    def at(self, name: str) -> str:
        """The file `name` in a message."""
        return f"{self._address}/{name}"

    @property
    def title(self) -> str:
        """Last part of the address."""
        return self._address.rpartition("/")[2]

    @property
    def canonical(self) -> str:
        """Equal for equal places, however they were named."""
        return str(self._store.unstrip_protocol(self._root))

    def below(self, name: str) -> "Objects":
        """What lies below `name`, as a place of its own. It can be written to as long as this one."""
        found = Objects(self.at(name))
        found._lock = self._lock
        return found

    def read(self, name: str) -> bytes:
        """The whole object."""
        return bytes(self._asked(name, lambda store: store.cat_file(self._path(name))))

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, or what there is of them."""
        if length == 0:
            return b""
        try:
            return self._asked(name, lambda store: self._range(store, name, offset, length))
        except PlaceError:
            size = self.size(name)
            if size is not None and size <= offset:  # which stores refuse to answer
                return b""
            raise

    def size(self, name: str) -> int | None:
        """Bytes of the object; None where there is none."""
        try:
            found = self._asked(name, lambda store: store.info(self._path(name)))
        except FileNotFoundError:
            return None
        if found["type"] != "file":
            return None
        return len(self.read(name)) if found["size"] is None else int(found["size"])

    def names(self, prefix: str = "") -> list[str]:
        """All objects whose names begin with `prefix`, sorted."""
        return sorted(self._listed(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The bytes of all objects whose names begin with `prefix`."""
        return {name: int(found["size"] or 0) for name, found in self._listed(prefix).items()}

    def _listed(self, prefix: str) -> dict[str, Any]:
        folder = prefix.rpartition("/")[0]
        try:
            found = self._asked(folder, lambda store: store.find(self._path(folder), detail=True))
        except FileNotFoundError as error:  # of a folder without objects, stores say that it is empty
            raise PlaceError(_reason(error), self) from error
        start = f"{self._root.rstrip('/')}/"
        names = {str(path).removeprefix(start): facts for path, facts in found.items()}
        return {name: facts for name, facts in names.items() if name.startswith(prefix) and name and name[-1] != "/"}

    def write(self, name: str, content: bytes) -> None:
        """Put `content` there as the whole of the object."""
        self._put(name, lambda store: store.pipe_file(self._path(name), content))

    def create(self, name: str, content: bytes) -> bool:
        """Put an object where there is none of that name; False where there is one."""
        try:
            with _CREATING:
                self._put(name, lambda store: store.pipe_file(self._path(name), content, mode="create"))
        except PlaceError as error:
            if isinstance(error.__cause__, FileExistsError):
                return False
            raise
        return True

    @contextmanager
    def new_file(self, name: str) -> Iterator[Path]:
        """A path in a temporary folder to write to; when the block ends well, it is put."""
        with tempfile.TemporaryDirectory(prefix="dukd-put-") as folder:
            path = Path(folder, name.rpartition("/")[2])
            with written_as(path, path):
                yield path
            self._put(name, lambda store: store.put_file(str(path), self._path(name)))

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects, one after another; one that is not there is no error."""
        for name in names:
            # Looked for first: a removal that arrives late, after its process was killed, could meet a newer object.
            if self.size(name) is not None:
                with suppress(FileNotFoundError):
                    self._changed(name, partial(_remove, path=self._path(name)))

    def remove(self, names: Iterable[str], folder: str) -> None:
        """Remove objects, all at once."""
        listed = list(names)
        paths = [self._path(name) for name in listed]
        if any(sign in path for path in paths for sign in _OF_PATTERNS):
            self.delete(listed)
        elif paths:
            self._changed(folder, lambda store: store.rm(paths))

    def move(self, names: Iterable[str], start: str, end: str) -> None:
        """Copy all objects within the store, then remove those that were copied."""
        listed = list(names)
        sources, targets = ([self._path(f"{below}{name}") for name in listed] for below in (start, end))
        if listed:
            self._changed(start, lambda store: store.copy(sources, targets, on_error="raise"))
            self.delete(f"{start}{name}" for name in listed)

    def sweep(self) -> None:
        """Nothing: a put that was interrupted leaves no object."""

    @contextmanager
    def local(self, names: Iterable[str]) -> Iterator[Folder]:
        """Copies in a temporary folder, named in messages as the objects are."""
        with tempfile.TemporaryDirectory(prefix="dukd-get-") as folder:
            self.fetch(names, Path(folder))
            yield Folder(Path(folder), self._address)

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Copy objects into `folder`, below which they have the same names."""
        for name in names:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with naming(target):
                self._asked(name, partial(_copied, path=self._path(name), target=target))

    def locked(self, work: str = "build") -> AbstractContextManager[None]:
        """Be the only one to write here until the block ends; see `object_lock` for what that means."""
        return self._holding(object_lock.ObjectLock(self, work))

    @contextmanager
    def joined(self) -> Iterator[Callable[[], None]]:
        """Write here until the block ends, together with others that joined."""
        lock = object_lock.SharedLock(self)
        with self._holding(lock):
            yield lock.free

    @contextmanager
    def _holding(self, lock: object_lock.ObjectLock) -> Iterator[None]:
        self._refuse_unless_writable()
        with object_lock.held(lock) as self._lock:
            try:
                yield
            finally:
                self._lock = None

    def refuse_if_locked(self) -> None:
        """Tell early what `locked` would tell later."""
        self._refuse_unless_writable()
        object_lock.refuse_if_held(self)

    @property
    def _store(self) -> Any:
        """fsspec keeps one for each process, so it is asked for anew: after a fork it is another."""
        return _opened(self._address)[0]

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}".rstrip("/")

    def _range(self, store: Any, name: str, offset: int, length: int) -> bytes:
        """What was asked for: web servers may send the whole file instead, and proxies less of it.

        Raises:
            ConnectionError: something else came.
        """
        found = bytes(store.cat_file(self._path(name), start=offset, end=offset + length))
        if len(found) == length:
            return found
        size = self.size(name) or 0
        expected = max(0, min(length, size - offset))
        if len(found) == expected:
            return found
        if len(found) != size:
            raise ConnectionError(f"{len(found)} bytes came where {expected} were asked for, from byte {offset} on")
        slow = "its server sends whole files where parts of them are asked for: a copy on this machine is faster"
        tell_once(f"note: {self._address}: {slow}")
        return found[offset : offset + length]

    def _put(self, name: str, put: Callable[[Any], object]) -> None:
        try:
            self._changed(name, put)
        except FileNotFoundError as error:
            raise PlaceError(_reason(error), self.at(name)) from error

    def _changed(self, name: str, change: Callable[[Any], object]) -> None:
        """Ask for a change, if this process may still make it."""
        self._refuse_unless_writable()
        if self._lock is not None:
            self._lock.check(name)
        self._asked(name, change)

    def _asked(self, name: str, question: Callable[[Any], T]) -> T:
        for last in (False, True):
            try:
                return question(self._store)
            except FileNotFoundError:
                raise
            except Exception as error:  # each library has its own
                number = error.errno if isinstance(error, OSError) else None
                if number == errno.ENOSPC:  # of this machine's disk
                    raise
                if last or isinstance(error, _FINAL) or number == errno.EINVAL:
                    raise PlaceError(_reason(error), self.at(name).rstrip("/")) from error
                time.sleep(_PAUSE_S)
        raise AssertionError("the last one was answered or raised")

    def _refuse_unless_writable(self) -> None:
        kind = self._address.partition("://")[0]
        if kind not in _WHOLE_OR_NOTHING:
            raise PlaceError(
                f"a cache there can be read, not written: {kind}:// may leave half a file "
                f"(valid: folders, {', '.join(f'{each}://' for each in _WHOLE_OR_NOTHING)})",
                self._address,
            )


def _opened(address: str) -> tuple[Any, str]:
    """The store of an address, and the path in it."""
    kind = address.partition("://")[0].rpartition("::")[2]
    try:
        # Listings are not to be remembered: other processes write there.
        store, path = url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        library = str(known_implementations.get(kind, {}).get("class", kind)).partition(".")[0]
        if importlib.util.find_spec(library) is not None:  # it needs another one, and says so
            raise PlaceError(_reason(error), address) from error
        raise PlaceError(needs(library), address) from error
    except ValueError as error:
        raise PlaceError(
            f"unknown kind of address {kind}:// (valid: folders, "
            f"{', '.join(f'{each}://' for each in _WHOLE_OR_NOTHING)}, and what fsspec {fsspec.__version__} reads)",
            address,
        ) from error
    except Exception as error:  # settings of the library that make no sense
        raise PlaceError(_reason(error), address) from error
    if not str(path).strip("/") and kind != "memory":
        raise PlaceError(f"expected {kind}://bucket/name", address)
    return store, str(path)


def _remove(store: Any, path: str) -> None:
    store.rm_file(path)


def _copied(store: Any, path: str, target: Path) -> None:
    store.get_file(path, str(target))


def _reason(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split()) or type(error).__name__
