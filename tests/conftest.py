"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Sums are added in the same order everywhere, and a busy machine is no slower than an idle one.

    (On small tensors threads wait for one another longer than they compute.)
    """
    torch.set_num_threads(1)


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
