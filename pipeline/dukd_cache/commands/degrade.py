"""A folder of HR images → a folder of LR images."""

from pathlib import Path

from PIL import Image

from dukd_cache.pictures.sources import find, read_scene
from dukd_cache.system.errors import SettingError
from dukd_cache.system.files import finished_file, try_folder
from dukd_cache.system.terminal import progress


def degrade_folder(hr: Path, out: Path, scale: int) -> int:
    """Write `<stem>x<scale>.png` below `out` for every image of the folder or list `hr`; return how many.

    Raises:
        ImageError: an image cannot be read, or none is there.
        SettingError: two images would become one file.
        OSError, CacheError: `out` cannot be written to.
    """
    try_folder(out)
    found = find(hr, besides=[out])
    targets: dict[Path, Path] = {}
    for path in found.paths:
        target = out / path.relative_to(found.root).with_name(f"{path.stem}x{scale}.png")
        if target in targets:
            raise SettingError(f"{targets[target]} and {path} would both become {target}: rename one")
        targets[target] = path
    with progress("making LR images", len(targets), "images") as advance:
        for target, path in targets.items():
            made = Image.fromarray(read_scene(path, None, scale).lr)
            with finished_file(target) as partial, partial.open("wb") as stream:
                made.save(stream, "PNG")
            advance(1)
    return len(targets)
