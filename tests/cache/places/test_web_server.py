"""A cache behind a web server, which may not know of byte ranges, or send less than it was asked for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.cache.samples import everything, same

from dukd_cache.format.codecs import CODECS
from dukd_cache.format.reader import Cache
from dukd_cache.places import objects
from dukd_cache.places.choice import place_at
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import Store
from dukd_cache.system import terminal
from dukd_cache.system.errors import PlaceError

pytest.importorskip("aiohttp")


class WholeFiles(SimpleHTTPRequestHandler):
    """Python's own server: it passes over what is said of ranges."""

    def log_message(self, *_words: object) -> None:
        """Quiet."""


class Ranges(WholeFiles):
    """Sends ranges, but of those in `cut` (counted from the first request on) all bytes but one."""

    cut: Callable[[int], bool] = staticmethod(lambda _number: False)
    asked = 0

    def do_GET(self) -> None:
        """A range of a file."""
        if not (words := self.headers.get("Range", "")):
            super().do_GET()
            return
        start, end = (int(word) for word in words.removeprefix("bytes=").split("-"))
        content = Path(self.translate_path(self.path)).read_bytes()[start : end + 1]
        content = content[:-1] if self.cut(type(self).asked) else content
        type(self).asked += 1
        self.send_response(206 if content else 416)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def served(folder: Path, handler: type[WholeFiles]) -> Iterator[str]:
    """The address of `folder`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_PAUSE_S", 0.01)
    monkeypatch.setattr(terminal, "_TOLD", set())


@pytest.mark.parametrize("store", CODECS)
def test_a_sound_cache_is_read_without_ranges_and_that_is_said_once(
    many_shards: dict[Store, Path], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    local = Cache(many_shards[store])
    with served(many_shards[store], WholeFiles) as address:
        remote = Cache(address)
        for view in VIEWS:
            for here, there in zip(everything(local, view), everything(remote, view), strict=True):
                assert here.keys() == there.keys()
                assert all(same(here[name], there[name]) for name in here)
    says = "its server sends whole files where parts of them are asked for: a copy on this machine is faster"
    assert capsys.readouterr().err == f"note: {address}: {says}\n"


@pytest.mark.parametrize("handler", [WholeFiles, Ranges])
def test_every_range_is_what_was_asked_for(tmp_path: Path, handler: type[WholeFiles]) -> None:
    (tmp_path / "a").write_bytes(content := bytes(range(100)))
    with served(tmp_path, handler) as address:
        place = place_at(address)
        for start, length in ((0, 100), (0, 10), (90, 10), (50, 1), (0, 200), (95, 20), (60, 99), (100, 5), (200, 5)):
            assert place.read_range("a", start, length) == content[start : start + length], (start, length)


def test_an_answer_that_is_cut_is_asked_for_again(tmp_path: Path) -> None:
    class Once(Ranges):
        cut = staticmethod(lambda number: number == 0)

    (tmp_path / "a").write_bytes(bytes(range(100)))
    with served(tmp_path, Once) as address:
        assert place_at(address).read_range("a", 10, 20) == bytes(range(10, 30))


def test_answers_that_are_always_cut_are_no_damage_of_the_cache(many_shards: dict[Store, Path]) -> None:
    class Always(Ranges):
        cut = staticmethod(lambda _number: True)

    with served(many_shards["webdataset"], Always) as address, pytest.raises(PlaceError) as caught:
        Cache(address).read("base", 0)
    assert str(caught.value).startswith(f"{address}/base-000000.")
    assert "bytes came where" in str(caught.value)
