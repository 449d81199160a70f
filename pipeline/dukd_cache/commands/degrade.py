"""A folder of HR images → a folder of LR images."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dukd_cache.pictures.bicubic import crop_to_scale, downscale
from dukd_cache.pictures.decode import read_rgb
from dukd_cache.pictures.degradation.steps import Step
from dukd_cache.pictures.finding import find_inputs
from dukd_cache.pictures.sources import read_facts
from dukd_cache.plan.degraded import recipe_of
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError, SettingError
from dukd_cache.system.files import finished_file, try_folder
from dukd_cache.system.terminal import progress


def degrade_folder(hr: Path, out: Path, scale: int, steps: Sequence[Step] = (), seed: int = 0) -> int:
    """Write `<stem>x<scale>.png` below `out` for every image of the folder or list `hr`; return how many.

    Args:
        steps: what is done to each image, drawn anew for it; none: bicubic. What was drawn is in the file's text
            `degradation`.
        seed: moves all that is drawn.

    Raises:
        ImageError: an image cannot be read, or none is there.
        SettingError: two images would become one file, or `out` is `hr`.
        OSError, CacheError: `out` cannot be written to.
    """
    found = find_inputs(hr, out)
    try_folder(out)
    targets: dict[Path, Path] = {}
    for path in found.paths:
        target = out / path.relative_to(found.root).with_name(f"{path.stem}x{scale}.png")
        if target in targets:
            raise SettingError(f"{targets[target]} and {path} would both become {target}: rename one")
        targets[target] = path
    with progress("making LR images", len(targets), "images") as advance:
        for target, path in targets.items():
            lr, text = _degraded(path, scale, steps, seed)
            with finished_file(target) as partial, partial.open("wb") as stream:
                Image.fromarray(lr).save(stream, "PNG", pnginfo=text)
            advance(1)
    return len(targets)


def _degraded(path: Path, scale: int, steps: Sequence[Step], seed: int) -> tuple[U8, PngInfo | None]:
    pixels = read_rgb(path)
    try:
        hr = crop_to_scale(pixels, scale)
    except ImageError as error:
        raise error.about(path) from None
    if not steps:
        return downscale(hr, scale), None
    recipe = recipe_of(steps, f"{seed}/whole/{read_facts(path).sha256}")
    text = PngInfo()
    drawn = {name: None if math.isnan(number) else number for name, number in recipe.columns.items()}
    text.add_text("degradation", json.dumps({"seed": seed, **drawn}))
    return recipe.applied(hr, scale), text
