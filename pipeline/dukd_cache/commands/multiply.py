"""A few HR images → many: the same ones smaller, turned and laid over each other, as files to look at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dukd_cache.pictures.decode import read_rgb
from dukd_cache.pictures.finding import find_inputs
from dukd_cache.pictures.sources import read_facts
from dukd_cache.pictures.variants import blended, smaller, turned
from dukd_cache.plan.philox import stream
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import SettingError
from dukd_cache.system.files import finished_file, try_folder
from dukd_cache.system.terminal import progress, say

_SHARES = (0.35, 0.65)
"""Of the second image in a blend: drawn between these."""

MOST_BLENDS = 100
"""Of an image."""


@dataclass(frozen=True)
class Variants:
    """What is made of each image.

    Raises:
        SettingError: a size is not between 0 and 1, an angle not between 0 and 360, `blends` not from 0 to 100, a
            number is given twice, or none at all.
    """

    sizes: tuple[float, ...]
    """Sides, over those of the image."""
    turns: tuple[float, ...]
    """Degrees, anticlockwise."""
    blends: int
    """Blends with other images."""
    smallest: int
    """What would have a shorter side is left out, in pixels."""

    def __post_init__(self) -> None:
        for name, numbers, top in (("sizes", self.sizes, 1), ("turns", self.turns, 360)):
            for number in numbers:
                if not 0 < number < top:
                    raise SettingError(f"expected numbers between 0 and {top}, got {number:g}", f"`{name}`")
                if [f"{other:g}" for other in numbers].count(f"{number:g}") > 1:  # they name files
                    raise SettingError(f"{number:g} is given twice", f"`{name}`")
        if not 0 <= self.blends <= MOST_BLENDS:
            raise SettingError(f"expected 0 to {MOST_BLENDS}, got {self.blends}", "`blends`")
        if not self.files(Path("image")):
            raise SettingError("nothing is asked for: give `sizes`, `turns` or `blends`")

    def files(self, stem: Path) -> list[Path]:
        """What the image `stem` becomes."""
        names = [f"size{size:g}" for size in self.sizes] + [f"turn{degrees:g}" for degrees in self.turns]
        names += [f"blend{number + 1}" for number in range(self.blends)]
        return [stem.with_name(f"{stem.name}_{name}.png") for name in names]


def multiply_folder(hr: Path, out: Path, variants: Variants, seed: int = 0) -> int:
    """Write the variants of every image of the folder or list `hr` below `out`; return how many.

    NAME.png becomes NAME_size0.8.png, NAME_turn20.png, NAME_blend1.png, … Blends are with other images, one after
    another in an order drawn for each image; of a single one, with its mirror image. All that is drawn depends on
    `seed`, the image's content and the order of the images.

    Raises:
        ImageError: an image cannot be read, or none is there.
        SettingError: two images would become one file, `out` holds images that are none of these or is `hr`, or all
            would be smaller than they may be.
        OSError, CacheError: `out` cannot be written to.
    """
    found = find_inputs(hr, out)
    try_folder(out)
    stems: dict[Path, Path] = {}
    for path in found.paths:
        stem = (out / path.relative_to(found.root)).with_suffix("")
        if stem in stems:
            raise SettingError(f"{stems[stem]} and {path} would both become {stem}_….png: rename one")
        stems[stem] = path
    _refuse_others(out, {target for stem in stems for target in variants.files(stem)})
    written, small = 0, 0
    with progress("making images", len(stems), "images") as advance:
        for stem, path in stems.items():
            images = _images(path, found.paths, variants, seed)
            for target, image in zip(variants.files(stem), images, strict=True):
                if min(image.shape[:2]) < variants.smallest:
                    small += 1
                    continue
                with finished_file(target) as partial, partial.open("wb") as stream:
                    Image.fromarray(image).save(stream, "PNG")
                written += 1
            advance(1)
    if not written:
        raise SettingError(f"a side of all {small} images would be below {variants.smallest} pixels", "`smallest`")
    if small:
        say(f"{out}: {small} images left out: a side below {variants.smallest} pixels")
    return written


def _refuse_others(out: Path, ours: set[Path]) -> None:
    """Those of an earlier run, with other settings, would be taken for these."""
    others = sorted(path for path in out.rglob("*.png") if path not in ours)
    if others:
        raise SettingError(f"holds other images, like {others[0].relative_to(out)}: choose another folder", out)


def _images(path: Path, every: Sequence[Path], variants: Variants, seed: int) -> Iterator[U8]:
    """Of one photograph, in the order of `Variants.files`."""
    image = read_rgb(path)
    for size in variants.sizes:
        yield smaller(image, size)
    for degrees in variants.turns:
        yield turned(image, degrees)
    others = [other for other in every if other != path] or [path]
    rng = stream(f"{seed}/blends/{read_facts(path).sha256}")
    for number in range(variants.blends):
        if number % len(others) == 0:
            order = rng.permutation(len(others))
        other = others[order[number % len(others)]]
        mirrored = rng.random() < 0.5 or other == path
        yield blended(image, read_rgb(other)[:, :: -1 if mirrored else 1], rng.uniform(*_SHARES))
