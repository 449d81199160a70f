"""A weights file on an image, or on a folder of them → larger images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.networks.devices import choose_device
from dukd_cache.pictures.finding import find_inputs
from dukd_cache.pictures.sources import read_size
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import DukdError, ImageError, SettingError, unknown_name
from dukd_cache.system.files import try_folder
from dukd_cache.system.terminal import progress, say, tell_once
from dukd_train.scoring.inference import Inference, may_tile, prepared, seams, super_resolve
from dukd_train.scoring.skipped import conclude, image_errors, without_memory
from dukd_train.using.pictures import FORMATS, upscale_file

SAME = "same"
"""Each output in its input's format."""


@dataclass(frozen=True)
class Upscaled:
    """What was done."""

    made: int
    there: int
    """Left alone, as they existed."""


def upscale_files(
    weights: Path, source: Path, out: Path, suffix: str | None, how: Inference, device: str, *, overwrite: bool
) -> Upscaled:
    """Enlarge `source`: an image file, or all images of a folder and its subfolders.

    One that cannot be used is named on standard error, and the rest go on. What another process enlarges meanwhile into
    the same folder is left alone.

    Args:
        out: a file (by its suffix) for a file, else a folder: subfolders and names are kept in it.
        suffix: of the outputs, without its dot, or `same`. None: that of `out` where it is a file, else png.
        overwrite: make anew what exists. Else a folder's existing files are left alone, and a single one is refused.

    Raises:
        SettingError: where to write is not clear, exists already, or is an input.
        PlaceError: there can be no folder to write to.
        ImageError: a single image cannot be used, or some of a folder could not.
        WeightsError: the weights hold no SR network.
    """
    targets = targets_of(source, out, suffix)
    wanted = {image: target for image, target in targets.items() if overwrite or not target.exists()}
    if not wanted and not source.is_dir():
        raise SettingError("exists already", next(iter(targets.values())), cure="`overwrite` makes it anew")
    if wanted:  # a subfolder that cannot be made costs its own images only
        try_folder(out.parent if out in wanted.values() else out)
    network = networks.load_any(weights).to(choose_device(device))
    made, failed = _enlarge(network, how, wanted, overwrite) if wanted else (0, [])
    conclude(failed, len(wanted), "enlarged")
    return Upscaled(made, len(targets) - made)


def upscale_array(network: Network, image: U8, how: Inference) -> U8:
    """The answer to one image, uint8 [H,W,3] → uint8 [scale·H,scale·W,3].

    Raises:
        ImageError: `image` is of another kind, or memory cannot hold the answer.
        SettingError: a precision that the device or the network does not have, tiles too small for their overlap.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f"expected an image uint8 [H,W,3], found {image.dtype} {[*image.shape]}")
    asked, (height, width, _) = prepared(network, how), image.shape
    if may_tile(how, width, height) and (line := seams(network, how)):
        tell_once(f"note: {line}")
    return super_resolve(asked, image)


def targets_of(source: Path, out: Path, suffix: str | None) -> dict[Path, Path]:
    """What each image becomes. Files below `out` are no inputs, so that `out` may lie in the inputs' folder.

    Raises:
        SettingError: two images would become one file, or one would be its own output, or an unknown format.
        ImageError: there is no image.
    """
    if suffix not in (None, SAME) and f".{suffix}" not in FORMATS:
        raise SettingError(unknown_name("`suffix`", str(suffix), [*(name[1:] for name in FORMATS), SAME]))
    is_file = out.suffix.lower() in FORMATS and not out.is_dir()
    if source.is_dir():
        if is_file or out.is_file():
            raise SettingError(f"expected a folder, as {source} is one", out)
        targets = {path: out / _named(path.relative_to(source), suffix) for path in find_inputs(source, out).paths}
    elif not source.exists():
        raise ImageError("no such image or folder", source)
    elif is_file:
        if suffix not in (None, SAME, out.suffix[1:].lower()):
            raise SettingError(f"its name says another format than `suffix={suffix}`", out)
        targets = {source: out}
    else:
        if out.suffix and not out.is_dir():
            raise SettingError(f"expected a folder, or a file that ends in {', '.join(FORMATS)}", out)
        targets = {source: out / _named(Path(source.name), suffix)}
    _refuse_clashes(targets)
    return targets


def _named(name: Path, suffix: str | None) -> Path:
    if suffix == SAME:
        if name.suffix.lower() not in FORMATS:
            raise SettingError(f"`suffix={SAME}` needs a name that ends in {', '.join(FORMATS)}", name)
        return name
    return name.with_suffix(f".{suffix or 'png'}")


def _refuse_clashes(targets: Mapping[Path, Path]) -> None:
    inputs = {source.resolve(): source for source in targets}
    first: dict[Path, Path] = {}
    for source, target in targets.items():
        if target.resolve() in inputs:
            raise SettingError(
                f"would overwrite the input {inputs[target.resolve()]}", target, cure="choose another output"
            )
        if (other := first.setdefault(target, source)) != source:
            raise SettingError(f"{other} and {source} would both become {target}: rename one, or use `suffix={SAME}`")


def _enlarge(
    network: Network, how: Inference, targets: Mapping[Path, Path], overwrite: bool
) -> tuple[int, list[DukdError]]:
    """All of them that nobody else has made meanwhile; returns how many, and what went wrong."""
    made, failed, warned = 0, list[DukdError](), False
    asked = prepared(network, how)
    with progress("upscaling", len(targets), "images") as advance:
        for source, target in targets.items():
            if overwrite or not target.exists():
                try:
                    if not warned and may_tile(how, *read_size(source)):
                        warned = True
                        if line := seams(network, how):
                            say(line)
                    with image_errors(source, target):
                        upscale_file(asked, source, target)
                    made += 1
                except DukdError as error:
                    failed.append(without_memory(error))
            advance(1)
    return made, failed
