"""Fixtures shared by all tests."""

import os
import secrets
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main
from tests.browser import CHROMIUM, Browser
from tests.object_store import Bucket, found_at, running_server
from tests.ray_cluster import running_cluster

PROJECT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those on a cluster first: one process starts it, for all of them, and nobody waits for them in the end."""
    items.sort(key=lambda item: "ray_cluster" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Sums are added in the same order everywhere, and a busy machine is no slower than an idle one.

    (On small tensors threads wait for one another longer than they compute.)
    """
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _hang_up_ends_processes() -> None:
    """As in a terminal, also where the tests run under nohup: processes inherit what they ignore."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of benchmarks and released teachers (`DUKD_DATA`); tests that need it are skipped without it."""
    folder = Path(os.environ.get("DUKD_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "Set5").is_dir():
        pytest.skip(f"no benchmark data at {folder} (set DUKD_DATA)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_memory_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hashes of files are remembered in a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("memory")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _commands_are_made_once() -> Iterator[None]:
    """typer makes all commands of a program anew each time it is called; here thousands of calls share them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.main.get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server of the tests' own, which this process finds from now on."""
    with running_server() as endpoint, found_at(endpoint):
        yield endpoint


@pytest.fixture
def bucket(s3_server: str) -> Bucket:
    """A new, empty bucket."""
    found = Bucket(s3_server, f"bucket-{secrets.token_hex(8)}")
    found.client.create_bucket(Bucket=found.name)
    return found


@pytest.fixture(scope="session")
def ray_cluster(s3_server: str) -> Iterator[Any]:  # noqa: ARG001 - its nodes find that server, too
    """Two nodes of one core each, with an `address`."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """Skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    folder = tmp_path / "browser"
    folder.mkdir()
    return Browser(folder)
