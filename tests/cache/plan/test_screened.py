"""A list of images that one worker wrote serves the others, and no image is read for it that is the same."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image
from tests.cache.samples import crop_spec, save_photos

from dukd_cache.pictures.finding import find, prefixes
from dukd_cache.pictures.lr_folder import LrFolder
from dukd_cache.plan.screened import HrSet, Screened, screened_from
from dukd_cache.plan.screening import OnBadImage, screen
from dukd_cache.system.errors import ImageError

SPEC = crop_spec(2, 8, zoom_in=0, zoom_out=0)


def sets_of(root: Path) -> list[HrSet]:
    """Two folders of images, the first with LR images."""
    found = [find(root / "one"), find(root / "two")]
    lr = LrFolder(root / "lr")
    return [HrSet(*each) for each in zip(found, (lr, None), prefixes([files.root for files in found]), strict=True)]


def screened(root: Path, on_bad_image: OnBadImage = "fail") -> Screened:
    return screen(sets_of(root), SPEC, on_bad_image)


def read_nothing(path: Path) -> NoReturn:
    raise AssertionError(f"{path} was read")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "here"
    save_photos(root / "one", [(60, 60), (64, 70), (50, 40)])
    save_photos(root / "two/deep", [(60, 60), (64, 72)])
    (root / "lr").mkdir()
    for path in (root / "one").iterdir():
        with Image.open(path) as image:
            image.reduce(2).save(root / f"lr/{path.stem}x2.png")
    return root


def change(path: Path) -> None:
    """One pixel."""
    pixels = np.array(Image.open(path))
    pixels[3, 4] ^= 1
    Image.fromarray(pixels).save(path)


def test_a_list_serves_where_nothing_changed_and_reads_nothing(root: Path) -> None:
    first = screened(root)
    told: list[int] = []
    again = screened_from(first.to_bytes(), sets_of(root), told.append, read_nothing)
    assert again == first
    assert again.to_bytes() == first.to_bytes() == screened(root).to_bytes()
    assert sum(told) == 5
    assert [image.lr is None for image in again.images] == [False, False, False, True, True]


def test_folders_may_lie_elsewhere(root: Path) -> None:
    """Names stay those that the first worker gave."""
    first = screened(root)
    elsewhere = root.rename(root.with_name("mounted"))
    sets_of_one, _ = sets_of(elsewhere)
    again = screened_from(first.to_bytes(), sets_of(elsewhere), facts_of=read_nothing)
    assert [image.name for image in again.images] == [image.name for image in first.images]
    for image in again.images:
        assert image.path.is_relative_to(elsewhere)
        assert image.path.is_file()
        assert image.lr is None or (image.lr.is_file() and image.lr.is_relative_to(elsewhere))
    (elsewhere / "two").rename(elsewhere / "deux")
    others = [sets_of_one, HrSet(find(elsewhere / "deux"), None, "deux/")]
    again = screened_from(first.to_bytes(), others, facts_of=read_nothing)
    assert [image.name for image in again.images] == [image.name for image in first.images]


def test_copied_files_are_read_and_serve(root: Path) -> None:
    first = screened(root)
    copied = root.with_name("copied")
    shutil.copytree(root, copied, copy_function=shutil.copyfile)
    for path in copied.rglob("*.png"):
        os.utime(path, (1, 1))
    again = screened_from(first.to_bytes(), sets_of(copied))
    assert again.to_bytes() == first.to_bytes()
    with pytest.raises(AssertionError, match="was read"):
        screened_from(first.to_bytes(), sets_of(copied), facts_of=read_nothing)


@pytest.mark.parametrize("name", ["one/photo_1.png", "two/deep/photo_1.png", "lr/photo_1x2.png"])
def test_a_file_of_other_bytes_is_refused_by_name(root: Path, name: str) -> None:
    first = screened(root).to_bytes()
    change(root / name)
    with pytest.raises(ImageError) as refused:
        screened_from(first, sets_of(root))
    assert str(refused.value) == f"{root / name}: holds other bytes than where the build began"


def test_other_images_are_counted_and_one_is_named(root: Path) -> None:
    first = screened(root).to_bytes()
    beginning = f"{root / 'one'}: expected the 5 images that the build began with, found "
    (root / "two/deep/photo_1.png").rename(root / "two/new.png")
    for said in ("1 missing (two/deep/photo_1.png), 1 new (two/new.png)", "1 missing (two/deep/photo_1.png)"):
        with pytest.raises(ImageError) as refused:
            screened_from(first, sets_of(root))
        assert str(refused.value) == beginning + said
        (root / "two/new.png").unlink(missing_ok=True)
    (root / "one/photo_0.png").unlink()
    with pytest.raises(ImageError, match=r"found 2 missing \(one/photo_0.png, …\)$"):
        screened_from(first, sets_of(root))


def test_other_sets_are_refused(root: Path) -> None:
    first, sets = screened(root).to_bytes(), sets_of(root)
    with pytest.raises(ImageError, match="`hr`: expected 2, as where the build began, found 1"):
        screened_from(first, sets[:1])
    with pytest.raises(ImageError, match="`lr`: expected LR images for the same folders"):
        screened_from(first, [HrSet(each.files, None, each.prefix) for each in sets])


def test_images_that_were_left_out_are_not_decoded_again(root: Path) -> None:
    (root / "one/photo_00.png").write_text("no image")
    content = (root / "two/deep/photo_0.png").read_bytes()
    (root / "two/deep/photo_0.png").write_bytes(content[: len(content) // 2])
    (root / "lr/photo_2x2.png").unlink()
    first = screened(root, "skip")
    assert [each.name for each in first.skipped] == ["one/photo_00.png", "one/photo_2.png", "two/deep/photo_0.png"]
    again = screened_from(first.to_bytes(), sets_of(root), facts_of=read_nothing)
    assert again == first
    (root / "one/photo_00.png").unlink()
    with pytest.raises(ImageError, match=r"found 1 missing \(one/photo_00.png\)"):
        screened_from(first.to_bytes(), sets_of(root))


def test_a_damaged_list_is_refused(root: Path) -> None:
    content, sets = screened(root).to_bytes(), sets_of(root)
    flipped = (content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(0, len(content), 7))
    for damaged in (b"", b"\n", content[:-1], content[:40], content + b"\0", *flipped):
        with pytest.raises(ImageError, match="damaged"):
            screened_from(damaged, sets)
