"""A weights file → a file that other software runs, written only if it gives the network's own answers."""

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from dukd_cache import __version__, networks
from dukd_cache.networks import Network
from dukd_cache.system.errors import DukdError, SettingError, one_line, unknown_name
from dukd_cache.system.files import try_file, write_atomically
from dukd_train.using.export_formats import FORMATS, FormatName, Forward

TOLERANCE = 1e-4
"""The largest difference that is let pass, of values in [0,1]: a fortieth of a level of 255."""

SHAPES = ((1, 3, 24, 32), (2, 3, 33, 47), (1, 3, 19, 70), (3, 3, 7, 5))
"""What is asked: of one image and more, even and odd sides, more and less than windows have."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    difference: float
    """The largest between the file's answers and the network's, of values in [0,1]."""


def format_name(text: str) -> FormatName:
    """What a user writes for one.

    Raises:
        SettingError: there is no such format.
    """
    known: dict[str, FormatName] = {name: name for name in get_args(FormatName)}
    if text not in known:
        raise SettingError(unknown_name("`to`", text, known))
    return known[text]


def export_network(weights: Path, to: FormatName, out: Path | None, *, overwrite: bool) -> Exported:
    """Export, check and write; the file is there in whole, or not at all.

    Args:
        out: beside the weights, with their stem, if None.
        overwrite: an existing file is replaced, else refused.

    Raises:
        SettingError: where to write exists already or is the weights; the exporter or its library cannot do it; or the
            answers differ.
        WeightsError: the weights hold no SR network.
    """
    path = target_of(weights, to, out, overwrite=overwrite)
    try_file(path, make_parents=True)
    network = networks.load(weights)
    what = f"{network.architecture} as {to}"
    with _silence():
        try:
            content = FORMATS[to].written(network, facts_of(network))
            answer = FORMATS[to].read(content)
            difference = max(_difference(network, answer, shape) for shape in SHAPES)
        except (DukdError, OSError):  # the system's: a full disk
            raise
        except Exception as error:  # an exporter can fail in any way, and its files when they run
            raise SettingError(f"cannot be exported for all sizes ({one_line(error)})", what) from error
    if not difference <= TOLERANCE:
        raise SettingError(f"its answers differ from the network's by {difference:.1e}, at most {TOLERANCE:g}", what)
    write_atomically(path, content)
    return Exported(path, difference)


def target_of(weights: Path, to: FormatName, out: Path | None, *, overwrite: bool) -> Path:
    """Where the file of `export_network` goes.

    Raises:
        SettingError: it is the weights file, exists, or its name says another format.
    """
    suffix, file = FORMATS[to].suffix, networks.file_at(weights)
    out = out or file.with_name(file.stem + suffix)
    ending = f".{suffix.rpartition('.')[2]}"
    if out.suffix != ending:
        raise SettingError(f"expected a name that ends in {ending}, for {to}", out)
    if out.resolve() == file.resolve():
        raise SettingError("is the weights file itself", out, cure="choose another `out`")
    if out.is_dir():
        raise SettingError("expected a file, found a folder", out)
    if out.exists() and not overwrite:
        raise SettingError("exists already", out, cure="`overwrite` makes it anew")
    return out


def facts_of(network: Network) -> dict[str, str]:
    """What an exported file says of itself: which network it is, and what its weights file says of how it was made."""
    return {
        **network.metadata,
        "architecture": network.architecture,
        "scale": str(network.scale),
        "window": str(network.window),
        "fingerprint": networks.fingerprint(network),
        "exported_by": f"dukd {__version__}",
    }


def _difference(network: Network, answer: Forward, shape: tuple[int, ...]) -> float:
    """The largest one, of noise of `shape`; infinite where the answer has another shape or no numbers."""
    image_NCHW = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected_NCHW = network(image_NCHW)
    with torch.no_grad():
        found_NCHW = answer(image_NCHW.clone())
    if found_NCHW.shape != expected_NCHW.shape:
        return math.inf
    difference = float((found_NCHW - expected_NCHW).abs().max())
    return difference if math.isfinite(difference) else math.inf


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Exporters warn, log and print much that says nothing of the file; what matters is checked."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
