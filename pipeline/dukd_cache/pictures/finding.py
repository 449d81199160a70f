"""Which image files are meant by a folder, or by a list of them; what else lies there is counted, not passed over."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dukd_cache.system.errors import ImageError, SettingError
from dukd_cache.system.left_overs import is_systems
from dukd_cache.system.terminal import tell_once

SUFFIXES = (
    ".apng",
    ".avif",
    ".bmp",
    ".jfif",
    ".jif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".jxl",
    ".pjp",
    ".pjpeg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)
"""File names that are taken for images, in any case."""

_OUTPUTS = {
    "manifest.json": ("a cache", b'"dukd-cache"'),
    "building.json": ("an unfinished cache", b'"dukd-cache"'),
    "student.safetensors": ("a run", None),
    "run.json": ("a run", b'"student"'),
    "report.html": ("a report", b"dukd"),
}
"""Files that tell a folder that dukd writes, with bytes that are in them: its pictures are made of other images."""

_NAMED = 5
"""Suffixes, and folders, that are named at most."""

_LONGEST_LIST = 1 << 30

_EXPECTED = "expected a folder of images, or a text file with the path of one in each line"


@dataclass(frozen=True)
class ImageFiles:
    """What a folder or a list of images comes to."""

    root: Path
    """Names of images are paths below it. Of a list: the folder that all its files are in."""
    paths: tuple[Path, ...]
    """Sorted by name."""


@dataclass
class _Passed:
    """What was seen and is not used."""

    files: Counter[str] = field(default_factory=Counter)
    """By suffix."""
    folders: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counted = [f"{count} {suffix or 'without a suffix'}" for suffix, count in self.files.most_common(_NAMED)]
        rest = sum(self.files.values()) - sum(count for _, count in self.files.most_common(_NAMED))
        named = self.folders[:_NAMED] + [f"{len(self.folders) - _NAMED} more"] * (len(self.folders) > _NAMED)
        files = ", ".join(counted + [f"{rest} others"] * bool(rest))
        folders = f"folder{'s' * (len(self.folders) > 1)} {', '.join(named)}" if named else ""
        return "; ".join(filter(None, (files, folders)))


def find(images: Path, besides: Iterable[Path] = ()) -> ImageFiles:
    """The image files of a folder, or of a text file that holds the path of one in each line.

    Raises:
        ImageError: as `find_images`, or a list that is no text, names no image, or names one twice.
    """
    if images.is_file():
        return _listed(images)
    return ImageFiles(images, tuple(find_images(images, besides)))


def find_inputs(images: Path, out: Path) -> ImageFiles:
    """The same, of which images in `out` will be made. It may lie in their folder: its files are no inputs.

    Raises:
        SettingError: `out` is their folder: a second run would take what the first made for inputs.
    """
    if images.is_dir() and os.path.realpath(images) == os.path.realpath(out):
        raise SettingError("the folder of the inputs", out, cure="choose another for the outputs")
    return find(images, besides=[out])


def find_images(root: Path, besides: Iterable[Path] = ()) -> list[Path]:
    """All image files below `root`, sorted by their path, but those that are hidden or in a folder of a system's.

    Other files are counted by suffix in a line on standard error, which also names the folders that are left out: those
    of systems, and those that dukd writes. A link that leads nowhere is found, too: whoever reads it is told.

    Args:
        besides: folders that are left out as well.

    Raises:
        ImageError: `root` is no folder, holds no image, or has a subfolder that cannot be listed.
    """
    if not root.is_dir():
        raise ImageError(f"expected a folder of images, found {'a file' if root.exists() else 'nothing'}", root)
    passed = _Passed()
    found = sorted(_files_below(root, {*map(os.path.realpath, besides)}, passed), key=lambda path: _name(path, root))
    if not found:
        there = f"; found {passed}" if str(passed) else ""
        raise ImageError(f"no images found (looked for {', '.join(SUFFIXES)}{there})", root)
    if str(passed):
        tell_once(f"{root}: not used: {passed}")
    return found


def prefixes(roots: Sequence[Path]) -> list[str]:
    """What to put before names below each of `roots`, so that they differ: nothing where all are one.

    Else as many of the last parts of their paths as tell them apart: `DIV2K/HR/` and `Flickr2K/HR/`.
    """
    folders = [Path(os.path.abspath(root)).parts for root in roots]
    if len({*folders}) < 2:
        return [""] * len(roots)
    longest = max(map(len, folders))
    parts = next(n for n in range(1, longest + 1) if len({folder[-n:] for folder in folders}) == len({*folders}))
    return ["/".join(folder[-parts:]).lstrip("/") + "/" for folder in folders]


def refuse_shared_files(found: Sequence[ImageFiles]) -> None:
    """Check that no image is found twice, by folders or lists that have files in common.

    Raises:
        SettingError: one is.
    """
    first: dict[str, int] = {}
    for number, images in enumerate(found if len(found) > 1 else ()):
        for path in images.paths:
            if first.setdefault(os.path.realpath(path), number) != number:
                raise SettingError(f"{path} is in two of the folders or lists that are given", "`hr`")


def _files_below(root: Path, besides: set[str], passed: _Passed) -> Iterator[Path]:
    """Image files below `root`. Links to folders are followed, as data sets are often linked.

    A folder is entered once, so rings end: by the first of its names, folder by folder in order.
    """
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        below = Path(folder).relative_to(root).as_posix()
        if below != "." and (kind := "asked for elsewhere" if real in besides else _output(folder, files)):
            passed.folders.append(f"{below} ({kind})")
            subfolders.clear()
            continue
        theirs = sorted(name for name in subfolders if is_systems(name))
        passed.folders += [Path(below, name).as_posix() for name in theirs if not name.startswith(".")]
        subfolders[:] = sorted({*subfolders}.difference(theirs))
        for name in files:
            if is_systems(name):
                continue
            suffix = os.path.splitext(name)[1].lower()
            if suffix in SUFFIXES:
                yield Path(folder, name)
            else:
                passed.files[suffix] += 1


def _output(folder: str, files: Iterable[str]) -> str | None:
    """What dukd wrote there, if anything."""
    for name in _OUTPUTS.keys() & {*files}:
        kind, sign = _OUTPUTS[name]
        if sign is None or sign in Path(folder, name).read_bytes():
            return kind
    return None


def _listed(file: Path) -> ImageFiles:
    """Paths that are not absolute start at the list's folder."""
    lines: dict[Path, int] = {}
    for number, line in enumerate(_text(file).splitlines(), 1):
        path = Path(os.path.abspath(file.parent / Path(line.strip()).expanduser()))
        if not line.strip() or (line.startswith("#") and not os.path.lexists(path)):
            continue
        if path in lines:
            raise ImageError(f"lines {lines[path]} and {number} name one image ({line.strip()})", file)
        lines[path] = number
    if not lines:
        raise ImageError("names no images; expected the path of one in each line", file)
    if not any(map(os.path.lexists, lines)):
        raise ImageError(f"{_EXPECTED}, found a text without any: there is no {next(iter(lines))}", file)
    root = Path(os.path.commonpath([path.parent for path in lines]))
    return ImageFiles(root, tuple(sorted(lines, key=lambda path: _name(path, root))))


def _text(file: Path) -> str:
    with file.open("rb") as stream:
        content = stream.read(_LONGEST_LIST)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImageError(f"{_EXPECTED}, found a file that is no UTF-8 text", file) from error
    if "\0" in text:
        raise ImageError(f"{_EXPECTED}, found a file that is no text", file)
    return text


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _refuse(error: OSError) -> None:
    raise ImageError(f"folder cannot be listed ({error.strerror})", error.filename) from error
