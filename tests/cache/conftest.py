"""Fixtures of the cache's tests: a few small photographs, a tiny teacher, a cache made of both."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings
from tests.cache.samples import build_job, save_photos, with_shards

from dukd_cache import networks
from dukd_cache.build.convert import convert, converted_header
from dukd_cache.commands.build import build_cache
from dukd_cache.format.codecs import CODECS
from dukd_cache.format.reader import Cache
from dukd_cache.settings.choices import Store

STORES: tuple[Store, ...] = tuple(CODECS)

settings.register_profile("any machine", deadline=None, max_examples=50)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three images of different sizes, none of which divides by 2, 3 or 4 on both sides."""
    return save_photos(tmp_path_factory.mktemp("photos"), [(61, 50), (73, 67), (55, 83)])


def _tiny_teacher(path: Path, seed: int) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = networks.build("EDSR", 2, {"channels": 8, "blocks": 1})
    with torch.no_grad():
        network.module.get_submodule("conv_last").get_parameter("weight").mul_(6)
    networks.save(network, path, {})
    return path


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny EDSR for scale 2, random but with answers that span the range of colours."""
    return _tiny_teacher(tmp_path_factory.mktemp("teacher") / "tiny_x2.safetensors", 7)


@pytest.fixture(scope="session")
def second_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one: `second.safetensors`."""
    return _tiny_teacher(tmp_path_factory.mktemp("teacher") / "second.safetensors", 8)


@pytest.fixture(scope="session")
def third_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """And another: `third.safetensors`."""
    return _tiny_teacher(tmp_path_factory.mktemp("teacher") / "third.safetensors", 9)


@pytest.fixture(scope="session")
def small_cache(photos: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cache of `photos` and `teacher_file` with all three views. Not to be written to."""
    out = tmp_path_factory.mktemp("cache") / "small"
    build_cache(*build_job(photos, out, teacher_file))
    return out


@pytest.fixture(scope="session")
def many_shards(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Store, Path]:
    """The records of `small_cache` in both stores, three shards a view. Not to be written to."""
    folder, source = tmp_path_factory.mktemp("many"), Cache(small_cache)
    found: dict[Store, Path] = {}
    for store in STORES:
        header = converted_header(source.manifest, store, None, None)
        found[store] = folder / store
        convert(source, found[store], with_shards(header, {"base": 7, "zoom_in": 5, "zoom_out": 6}))
    return found
