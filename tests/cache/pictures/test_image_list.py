"""A list of images as columns is the list of images, in a tenth of its memory."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dukd_cache.pictures.image_list import Folders, GrowingImages, Images
from dukd_cache.pictures.sources import NO_STAMP, SourceImage

LETTERS = st.characters(exclude_characters="\0/", exclude_categories=["Cs"])
NAMES = st.text(LETTERS, min_size=1, max_size=9).filter(lambda name: name.strip("."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
STAMPS = st.tuples(st.integers(1, 2**63), st.integers(-(2**62), 2**62))
SIDES = st.integers(1, 2**32 - 1)


@st.composite
def source_images(draw: st.DrawFn) -> SourceImage:
    """Of any names, below a folder or not, with an LR file or without."""
    name = draw(PATHS)
    path = Path(draw(st.sampled_from(["/data", "hr", "."])), name) if draw(st.booleans()) else Path(draw(PATHS))
    lr, lr_sha256, lr_stamp = None, "", NO_STAMP
    if draw(st.booleans()):
        lr, lr_sha256, lr_stamp = Path(draw(PATHS)), draw(HASHES), draw(STAMPS)
    return SourceImage(
        name, path, draw(HASHES), draw(SIDES), draw(SIDES), lr, lr_sha256, stamp=draw(STAMPS), lr_stamp=lr_stamp
    )


@given(images=st.lists(source_images(), max_size=6), start=st.integers(-7, 7), stop=st.integers(-7, 7))
def test_columns_hold_the_same_images(images: list[SourceImage], start: int, stop: int) -> None:
    found = Images.of(images)
    assert list(found) == images
    assert len(found) == len(images)
    assert list(found[start:stop]) == images[start:stop]
    assert pickle.loads(pickle.dumps(found[start:stop])) == found[start:stop]
    assert found[start:stop] == Images.of(found)[start:stop]
    assert list(found.identities()) == [(image.name, image.sha256, image.lr_sha256) for image in images]
    assert list(found.without({0, 2})) == [image for number, image in enumerate(images) if number not in (0, 2)]
    for number in range(-len(images), len(images)):
        assert found[number] == images[number]
    for number in (len(images), -len(images) - 1):
        with pytest.raises(IndexError):
            found[number]


@given(numbers=st.lists(st.none() | st.integers(0, 3), max_size=9))
def test_images_that_share_an_lr_file_are_found(numbers: list[int | None]) -> None:
    lr_of = [None if number is None else Path(f"lr/{number}") for number in numbers]
    images = [SourceImage(f"{i}.png", Path(f"{i}.png"), "0" * 64, 9, 9, lr) for i, lr in enumerate(lr_of)]
    shared = [i for i, lr in enumerate(lr_of) if lr and lr_of.count(lr) > 1]
    assert Images.of(images).sharing_lr() == shared


def test_images_of_a_large_set_take_about_a_hundred_bytes() -> None:
    growing, folders = GrowingImages(), Folders(Path("/data/photographs"))
    for number in range(10_000):
        name = f"folder_{number // 1000:04d}/image_{number:08d}.png"
        growing.add(SourceImage(name, folders.hr / name, f"{number:064x}", 900, 600, None), folders, 0)
    found = growing.images([folders])
    taken = sum(map(len, found.columns)) + found.hr.ends.nbytes
    assert taken / len(found) < 110
    assert [name for name, _, _ in found.identities()] == [image.name for image in found]
    assert found[9_999].sha256 == f"{9999:064x}"
    assert len(pickle.dumps(found[5000:5002])) < 2000


def test_images_in_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps of 2"):
        Images.of([])[::2]
