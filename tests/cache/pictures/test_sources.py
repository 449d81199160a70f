"""Finding, identifying and decoding source images."""

import errno
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cache.samples import photo

from dukd_cache.commands.degrade import degrade_folder
from dukd_cache.pictures import sources
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.sources import (
    LrFolder,
    find_images,
    identify,
    read_rgb,
    read_scene,
    read_size,
    refuse_shared_lr,
)
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError, SettingError

UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}
"""What turns stored pixels upright, by EXIF orientation (EXIF 2.3, tag 0x0112)."""


def stored(pixels: U8, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def test_images_are_found_in_all_subfolders_sorted_by_path(tmp_path: Path) -> None:
    names = ["b.png", "a/z.JPG", "a/b.webp", "a.bmp", "c/d/e.TiFf"]
    for name in [*names, "a/notes.txt", "b.png.partial", "a/thumb.gif"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a.bmp", "a/b.webp", "a/z.JPG", "b.png", "c/d/e.TiFf"]


def test_linked_folders_are_followed_but_rings_are_not(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.png").touch()
    (tmp_path / "hr").mkdir()
    (tmp_path / "hr/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "hr/ring").symlink_to(tmp_path / "hr")
    assert find_images(tmp_path / "hr") == [tmp_path / "hr/linked/x.png"]


def test_a_folder_linked_twice_counts_once_by_its_first_name(tmp_path: Path) -> None:
    (tmp_path / "hr/m").mkdir(parents=True)
    (tmp_path / "hr/m/x.png").touch()
    for name in ("z", "b", "y"):
        (tmp_path / "hr" / name).symlink_to("m")
    assert find_images(tmp_path / "hr") == [tmp_path / "hr/b/x.png"]


def test_folders_that_link_each_other_end(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").touch()
        for other in {"a", "b", "c"} - {name}:
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    assert sorted(path.name for path in find_images(tmp_path)) == ["a.png", "b.png", "c.png"]


def test_linked_files_are_images_and_links_to_nothing_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(stored(photo(9, 7), "PNG"))
    (tmp_path / "y.png").symlink_to("x.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "ring.png").symlink_to("ring.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert [path.name for path in find_images(tmp_path)] == ["gone.png", "pipe.png", "ring.png", "x.png", "y.png"]
    assert identify(tmp_path, tmp_path / "y.png", 2).sha256 == identify(tmp_path, tmp_path / "x.png", 2).sha256
    for name, says in (("gone", "a link to nothing"), ("ring", "a link to nothing"), ("pipe", "not a file")):
        for read in (read_rgb, lambda path: identify(tmp_path, path, 2)):
            with pytest.raises(ImageError, match=rf"{name}\.png: {says}"):
                read(tmp_path / f"{name}.png")


def test_hidden_files_and_folders_are_left_alone(tmp_path: Path) -> None:
    root = tmp_path / ".hidden root"
    for name in ("a.jpg", "._a.jpg", ".b.png", ".thumbs/c.png", "sub/.d/e.png", "sub/f.PNG", "__MACOSX/._a.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    assert [path.relative_to(root).as_posix() for path in find_images(root)] == ["a.jpg", "sub/f.PNG"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may list anything: the refusal is made here."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "x.png").touch()
    listed = os.scandir

    def scandir(folder: str | Path) -> Any:
        if Path(folder).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ImageError, match=r"closed: folder cannot be listed \(Permission denied\)"):
        find_images(tmp_path)


@pytest.mark.parametrize("name", ["sp ace.png", "größe/日本.png", "a\nb.png", "%41;$x'\".png", "x" * 200 + ".png"])
def test_any_utf_8_name_will_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(stored(photo(9, 7), "PNG"))
    (path,) = find_images(tmp_path)
    assert identify(tmp_path, path, 2).name == name


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(stored(photo(9, 7), "PNG"))
    (path,) = find_images(tmp_path)
    with pytest.raises(ImageError, match="its name is not UTF-8"):
        identify(tmp_path, path, 2)


@pytest.mark.parametrize(("make", "says"), [("nothing", "found nothing"), ("file", "found a file"), ("empty", "no im")])
def test_no_images_is_an_error_that_names_the_folder(tmp_path: Path, make: str, says: str) -> None:
    root = tmp_path / "hr"
    if make == "file":
        root.touch()
    elif make == "empty":
        root.mkdir()
        (root / "readme.txt").touch()
    with pytest.raises(ImageError, match=says) as caught:
        find_images(root)
    assert str(caught.value).startswith(f"{root}:")


def test_identity_is_name_content_and_size(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "x.png"
    path.write_bytes(stored(photo(9, 7), "PNG"))
    found = identify(tmp_path, path, 2)
    assert (found.name, found.path, found.width, found.height, found.lr) == ("sub/x.png", path, 9, 7, None)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_pixels_and_sizes_are_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    closest: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
    pixels = photo(24, 16)
    path = tmp_path / f"x.{kind.lower()}"
    path.write_bytes(stored(pixels, kind, exif=exif, **closest.get(kind, {})))
    expected = UPRIGHT[orientation](pixels)
    read = read_rgb(path)
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).mean() < (8 if kind == "JPEG" else 1e-9)
    found = identify(tmp_path, path, 2)
    assert (found.width, found.height) == (read.shape[1], read.shape[0])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(photo(16, 12)).convert(mode)
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr", "PA") else "x.png")
    image.save(path)
    pixels = read_rgb(path)
    assert pixels.shape == (12, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    colours = photo(8, 8)
    transparent = np.dstack([colours, np.zeros((8, 8), np.uint8)])
    (tmp_path / "x.png").write_bytes(stored(transparent, "PNG"))
    assert np.array_equal(read_rgb(tmp_path / "x.png"), colours)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("png", stored(photo(24, 24), "PNG")),
        ("jpg", stored(photo(24, 24), "JPEG")),
        ("webp", stored(photo(24, 24), "WEBP")),
        ("bmp", stored(photo(24, 24), "BMP")),
    ],
)
def test_truncated_files_are_image_errors_that_name_the_file(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"cut.{suffix}"
    refused = 0
    for length in [0, 1, 4, *range(8, len(content) * 9 // 10, 13)]:
        path.write_bytes(content[:length])
        with pytest.raises(ImageError, match="readable") as caught:
            read_rgb(path)
        assert str(caught.value).startswith(f"{path}:")
        assert "\n" not in str(caught.value)
        try:
            identify(tmp_path, path, 2)
        except ImageError as error:
            refused += str(error).startswith(f"{path}:")
    assert refused, "a file of no bytes has no header"


def test_a_text_file_and_a_missing_file_are_image_errors(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no pixels here")
    for name in ("text.png", "missing.png"):
        for read in (read_rgb, lambda path: identify(tmp_path, path, 2)):
            with pytest.raises(ImageError, match=name):
                read(tmp_path / name)


def test_a_scene_without_lr_file_is_cropped_and_downscaled(tmp_path: Path) -> None:
    pixels = photo(31, 26)
    (tmp_path / "x.png").write_bytes(stored(pixels, "PNG"))
    scene = read_scene(tmp_path / "x.png", None, 4)
    assert np.array_equal(scene.hr, pixels[:24, :28])
    assert np.array_equal(scene.lr, downscale(pixels[:24, :28], 4))


def test_a_scene_with_lr_file_takes_its_pixels(tmp_path: Path) -> None:
    lr = photo(7, 6, seed=3)
    (tmp_path / "x.png").write_bytes(stored(photo(31, 26), "PNG"))
    (tmp_path / "xx4.png").write_bytes(stored(lr, "PNG"))
    assert np.array_equal(read_scene(tmp_path / "x.png", tmp_path / "xx4.png", 4).lr, lr)


def test_lr_of_another_scale_is_refused_with_both_sizes(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(stored(photo(32, 24), "PNG"))
    (tmp_path / "lr.png").write_bytes(stored(photo(16, 12), "PNG"))
    with pytest.raises(ImageError, match=r"lr\.png: expected 8×6 pixels .* found 16×12"):
        read_scene(tmp_path / "x.png", tmp_path / "lr.png", 4)


def test_an_image_smaller_than_the_scale_is_named(tmp_path: Path) -> None:
    (tmp_path / "tiny.png").write_bytes(stored(photo(9, 3), "PNG"))
    with pytest.raises(ImageError, match=r"tiny\.png.* 9×3 .* scale 4"):
        read_scene(tmp_path / "tiny.png", None, 4)


def test_lr_file_is_found_by_template_and_suffix(tmp_path: Path) -> None:
    for name in ("ax4.png", "ax4.jpg", "bx4.webp", "c_LR.png", "dx4.PNG"):
        (tmp_path / name).touch()
    assert LrFolder(tmp_path).find(Path("a.jpg"), 4) == tmp_path / "ax4.jpg"
    assert LrFolder(tmp_path).find(Path("a.png"), 4) == tmp_path / "ax4.png"
    assert LrFolder(tmp_path).find(Path("b.jpg"), 4) == tmp_path / "bx4.webp"
    assert LrFolder(tmp_path).find(Path("d.png"), 4) == tmp_path / "dx4.PNG"
    assert LrFolder(tmp_path, "{stem}_LR").find(Path("c.png"), 4) == tmp_path / "c_LR.png"
    with pytest.raises(ImageError, match=r"ax3\.\* or a\.\*: no LR image for a\.png$"):
        LrFolder(tmp_path).find(Path("a.png"), 3)
    (tmp_path / "a.bmp").touch()
    assert LrFolder(tmp_path).find(Path("a.png"), 3) == tmp_path / "a.bmp"
    assert LrFolder(tmp_path).find(Path("a.png"), 4) == tmp_path / "ax4.png"
    with pytest.raises(
        ImageError, match=r"a_LR\.\*: no LR image for a\.png; found a\.bmp: for such names give `lr_template={stem}`$"
    ):
        LrFolder(tmp_path, "{stem}_LR").find(Path("a.png"), 3)


def test_lr_file_is_looked_for_in_the_same_subfolder_first_then_at_the_top(tmp_path: Path) -> None:
    for name in ("a/1x2.webp", "a/b/1x2.png", "1x2.png", "2x2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    lr = LrFolder(tmp_path)
    assert lr.find(Path("1.png"), 2) == tmp_path / "1x2.png"
    assert lr.find(Path("a/1.png"), 2) == tmp_path / "a/1x2.webp"
    assert lr.find(Path("a/b/1.png"), 2) == tmp_path / "a/b/1x2.png"
    assert lr.find(Path("a/2.png"), 2) == tmp_path / "2x2.png"
    assert lr.find(Path("c/1.png"), 2) == tmp_path / "1x2.png"
    with pytest.raises(ImageError, match=r"a/b/3x2\.\* or 3\.\*: no LR image for 3\.png"):
        lr.find(Path("a/b/3.png"), 2)


def test_what_degrade_writes_is_found_again(tmp_path: Path) -> None:
    for number, name in enumerate(("1.png", "a/1.png", "a/b c/1.JPG")):
        (tmp_path / "hr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hr" / name).write_bytes(stored(photo(12, 12, seed=number), "PNG"))
    degrade_folder(tmp_path / "hr", tmp_path / "lr", 2)
    for path in find_images(tmp_path / "hr"):
        found = identify(tmp_path / "hr", path, 2, LrFolder(tmp_path / "lr"))
        assert found.lr is not None
        assert np.array_equal(read_rgb(found.lr), downscale(read_rgb(path), 2))


def test_an_lr_header_of_another_size_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "lr").mkdir()
    (tmp_path / "x.png").write_bytes(stored(photo(32, 24), "PNG")[:60])
    (tmp_path / "lr/xx4.png").write_bytes(stored(photo(16, 12), "PNG")[:60])
    with pytest.raises(ImageError, match=r"xx4\.png: expected 8×6 pixels .* found 16×12"):
        identify(tmp_path, tmp_path / "x.png", 4, LrFolder(tmp_path / "lr"))
    assert identify(tmp_path, tmp_path / "x.png", 2, LrFolder(tmp_path / "lr", "{stem}x4")).width == 32


def test_two_images_of_one_lr_file_are_refused() -> None:
    refuse_shared_lr([("a.png", Path("a")), ("b.png", Path("b")), ("c.png", None), ("d.png", None)])
    with pytest.raises(ImageError, match=r"lr/x: would be the LR image of both a\.png and b\.png"):
        refuse_shared_lr([("a.png", Path("lr/x")), ("b.png", Path("lr/x"))])


@pytest.mark.parametrize(
    "template",
    [
        "",
        "x4",
        "{scale}",
        "{stem}{name}",
        "{stem}{}",
        "{stem",
        "{stem!q}",
        "{stem.__class__}",
        "{stem[x]}",
        "{stem}{scale:q}",
    ],
)
def test_impossible_template_is_a_setting_error(tmp_path: Path, template: str) -> None:
    with pytest.raises(SettingError, match=r"`lr_template=.*expected a name made of {stem} and {scale}"):
        LrFolder(tmp_path, template).find(Path("a.png"), 2)


def test_a_file_that_changes_while_it_is_identified_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its size would be that of one file and its hash that of another."""
    path = tmp_path / "x.png"
    Image.fromarray(photo(30, 20)).save(path)

    def slow(of: Path) -> tuple[int, int]:
        found = read_size(of)
        Image.fromarray(photo(40, 30)).save(of)
        return found

    monkeypatch.setattr(sources, "read_size", slow)
    with pytest.raises(ImageError) as refused:
        identify(tmp_path, path, 2)
    assert str(refused.value) == f"{path}: changed while it was read; run the same command again"
