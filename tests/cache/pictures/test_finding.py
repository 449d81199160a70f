"""What is found below folders and in lists, what is not used, and that it is said."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image
from tests.cache.samples import Asked, build_job, everything, photo, save_photos

from dukd_cache.commands import build as job
from dukd_cache.commands.degrade import degrade_folder
from dukd_cache.commands.multiply import Variants, multiply_folder
from dukd_cache.format.manifest import to_json
from dukd_cache.format.reader import Cache
from dukd_cache.pictures.finding import SUFFIXES, find, find_images, prefixes
from dukd_cache.pictures.sources import LrFolder, read_rgb
from dukd_cache.system.errors import ImageError, SettingError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(root: Path, found: list[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found]


def test_all_names_of_plain_formats_are_images(tmp_path: Path) -> None:
    for suffix in (".jfif", ".jpe", ".JIF", ".apng", ".pjpeg", ".avif", ".jxl"):
        touch(tmp_path, f"a{suffix}")
        assert suffix.lower() in SUFFIXES
    assert len(find_images(tmp_path)) == 7


@pytest.mark.parametrize(("name", "kind"), [("a.jpe", "JPEG"), ("a.jfif", "JPEG"), ("a.apng", "PNG")])
def test_they_are_read(tmp_path: Path, name: str, kind: str) -> None:
    Image.fromarray(photo(16, 12)).save(tmp_path / name, kind)
    assert read_rgb(tmp_path / name).shape == (12, 16, 3)


def test_what_is_not_used_is_counted_by_suffix_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(
        tmp_path,
        "a.png",
        "b.gif",
        "sub/c.GIF",
        "d.txt",
        "e",
        ".hidden",
        "Thumbs.db",
        "sub/f.heic",
        "g.x1",
        "h.x2",
        "i.x3",
    )
    assert names(tmp_path, find_images(tmp_path)) == ["a.png"]
    says = capsys.readouterr().err
    assert says.startswith(f"{tmp_path}: not used: 2 .gif, ")
    assert "1 without a suffix" in says
    assert says.endswith(", 2 others\n")
    find_images(tmp_path)
    assert capsys.readouterr().err == "", "once is enough, for a training that scores a folder again and again"
    find_images(touch(tmp_path / "all used", "x.png"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "name", ["@eaDir", "$RECYCLE.BIN", "#recycle", "@Recycle", "System Volume Information", "lost+found"]
)
def test_folders_of_systems_are_left_out(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path, "a.png", f"{name}/b.png", f"sub/{name}/deep/c.png")
    assert names(tmp_path, find_images(tmp_path)) == ["a.png"]
    assert capsys.readouterr().err == f"{tmp_path}: not used: folders {name}, sub/{name}\n"


def test_folders_that_dukd_writes_are_left_out(
    tmp_path: Path, small_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path, "a.png", "old/sheet.png", "run/crops/b.png", "report/c.png", "mine/manifest.json", "mine/d.png")
    (tmp_path / "old/manifest.json").write_bytes((small_cache / "manifest.json").read_bytes())
    (tmp_path / "run/student.safetensors").touch()
    (tmp_path / "report/report.html").write_text("<p>with dukd 0.1")
    assert names(tmp_path, find_images(tmp_path)) == ["a.png", "mine/d.png"]
    says = capsys.readouterr().err
    assert says == f"{tmp_path}: not used: 1 .json; folders old (a cache), report (a report), run (a run)\n"
    touch(tmp_path, "old/only.png")
    assert len(find_images(tmp_path / "old")) == 2  # what is asked for by name is used


def test_outputs_and_lr_images_below_hr_are_no_hr_images(tmp_path: Path) -> None:
    hr = save_photos(tmp_path / "hr", [(61, 50), (73, 67)])
    degrade_folder(hr, hr / "lr", 2)
    assert degrade_folder(hr, hr / "lr", 2) == 2
    asked = build_job(hr, hr / "lr" / "cache", None, lr=hr / "lr")
    assert job.build_cache(*asked).images.count == 2
    save_photos(hr / "lr" / "cache", [(61, 50)])
    assert job.build_cache(*asked).images.count == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda hr, out: degrade_folder(hr, out, 2),
        lambda hr, out: multiply_folder(hr, out, Variants((0.5,), (), 0, smallest=1)),
    ],
    ids=["degrade", "multiply"],
)
def test_what_makes_images_of_images_does_not_put_them_among_these(
    make: Callable[[Path, Path], int], tmp_path: Path
) -> None:
    """A second run would make LR images of LR images."""
    hr = touch(tmp_path / "hr", "a.png", "b.png")
    (tmp_path / "link").symlink_to(hr)
    for out in (hr, tmp_path / "link"):
        with pytest.raises(SettingError, match="the folder of the inputs; choose another"):
            make(hr, out)
    assert sorted(path.name for path in hr.iterdir()) == ["a.png", "b.png"]


def test_a_list_is_the_folder_it_names(tmp_path: Path) -> None:
    hr = save_photos(tmp_path / "hr", [(61, 50), (73, 67), (55, 83)])
    listed = tmp_path / "list.txt"
    listed.write_bytes("\ufeff# mine\r\nhr/photo_2.png\r\n\r\nhr/photo_0.png\r\n".encode() + bytes(hr / "photo_1.png"))
    assert find(listed) == find(hr)
    manifests = [job.build_cache(*build_job(images, tmp_path / f"of {images.stem}", None)) for images in (hr, listed)]
    assert to_json(manifests[0]) == to_json(manifests[1])


def test_a_line_of_a_list_that_names_an_image_is_no_comment(tmp_path: Path) -> None:
    hr = save_photos(tmp_path / "hr", [(61, 50), (73, 67)])
    (hr / "photo_0.png").rename(hr / "#1.png")
    (hr / "list.txt").write_text("#1.png\n# photo_1.png\nphoto_1.png\n")
    assert find(hr / "list.txt") == find(hr)


def test_a_list_names_its_images_below_the_folder_of_them_all(tmp_path: Path) -> None:
    for folder in ("DIV2K", "Flickr2K"):
        save_photos(tmp_path / folder / "hr", [(61, 50)])
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/both").write_text("../Flickr2K/hr/photo_0.png\n../DIV2K/hr/photo_0.png\n")
    found = find(tmp_path / "lists/both")
    assert names(found.root, [*found.paths]) == ["DIV2K/hr/photo_0.png", "Flickr2K/hr/photo_0.png"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a.png\nb.png\n./a.png", r"lines 1 and 3 name one image"),
        (b"# nothing\n", "names no images"),
        (b"\x89PNG\r\n", "expected a folder of images, or a text file .* found a file that is no UTF-8 text"),
        (b"a\0b", "found a file that is no text"),
    ],
)
def test_what_is_no_list_of_images_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(ImageError, match=rf"^{tmp_path}/list: .*{says}") as told:
        find(tmp_path / "list")
    assert "\n" not in str(told.value)


def several(out: Path, *hr: Path, lr: Iterable[Path] = ()) -> Asked:
    return build_job(hr[0], out, None).but(hr=hr, lr=tuple(lr))


def test_several_folders_are_one_data_set(tmp_path: Path) -> None:
    one, other = (save_photos(tmp_path / name / "HR", [(61, 50), (73, 67)]) for name in ("DIV2K", "Flickr2K"))
    Image.fromarray(photo(61, 50, seed=9)).save(other / "photo_0.png")
    lr = [tmp_path / "lr" / name for name in ("one", "other")]
    for hr, folder in zip((one, other), lr, strict=True):
        degrade_folder(hr, folder, 2)
    made = job.build_cache(*several(tmp_path / "made", one, other))
    assert made.images.count == 4
    images = dict.fromkeys(record.info.image for record in everything(Cache(tmp_path / "made"), "base"))
    assert [*images] == [f"{name}/HR/photo_{number}.png" for name in ("DIV2K", "Flickr2K") for number in (0, 1)]
    read = several(tmp_path / "read", one, other, lr=lr)
    assert job.build_cache(*read).images.count == 4
    for hr, folders, says in (
        ((one, one), (), "is in two of the folders"),
        ((one, one.parent), (), "is in two of the folders"),
        ((one, other, one), lr, "`lr`: 2 folders for 3 of `hr`; expected one, or one for each"),
    ):
        with pytest.raises(SettingError, match=says):
            job.build_cache(*several(tmp_path / "x", *hr, lr=folders))


def test_prefixes_tell_folders_apart() -> None:
    assert prefixes([Path("/a")]) == [""]
    assert prefixes([Path("/a/b"), Path("/a/c")]) == ["b/", "c/"]
    assert prefixes([Path("/x/a/hr"), Path("/y/b/hr")]) == ["a/hr/", "b/hr/"]
    assert prefixes([Path("/hr"), Path("/b/hr")]) == ["hr/", "b/hr/"]
    assert prefixes([Path("/a"), Path("/a")]) == ["", ""]


def test_lr_files_are_found_in_any_case_and_spelling(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    touch(tmp_path, f"{apart}x4.Png", f"{composed} sub/1x4.jPeG")
    lr = LrFolder(tmp_path)
    assert lr.find(Path(f"{composed}.png"), 4).name == f"{apart}x4.Png"
    assert lr.find(Path(f"{apart} sub/1.png"), 4) == tmp_path / f"{composed} sub/1x4.jPeG"
    with pytest.raises(ImageError, match="no LR image"):
        lr.find(Path("CAF\u00e9.png"), 4)
    assert lr.find(Path(f"{apart}.png"), 4).name == f"{apart}x4.Png"
