"""A light trainer of super-resolution students from teacher caches.

    import dukd_train

    config = dukd_train.TrainConfig(cache="cache", method="dukd", steps=50_000)
    facts = dukd_train.train(config, "runs/dukd")          # a run that was stopped goes on
    student = dukd_train.load_student("runs/dukd")         # weights of anybody's SR network will do, too
    scores = dukd_train.evaluate(student, "Set5/HR")
    print(scores.means.network["psnr_y"], scores.means.bicubic["psnr_y"])
    large = dukd_train.upscale(student, image)             # u8 [H,W,3] → u8 [sH,sW,3]
    dukd_train.export("runs/dukd", "onnx", "student.onnx")

All errors are a `dukd_cache.DukdError`, of one line; docs/python.md shows more. To read how a student is trained, begin
with `core/run.py`, then `loop.py` and `learner.py` beside it, then `data/batches.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dukd_cache.settings.addresses import local_path, network_file
from dukd_cache.system.later import loaded_later
from dukd_train.errors import DivergedError, LostError, RunError

if TYPE_CHECKING:
    from dukd_cache.networks import Network
    from dukd_cache.settings.choices import Precision
    from dukd_cache.system.arrays import U8
    from dukd_train.scoring.evaluate import Evaluation
    from dukd_train.scoring.scores import MetricName
    from dukd_train.scoring.tiles import Tile
    from dukd_train.settings import TrainConfig
    from dukd_train.using.export import Exported
    from dukd_train.using.export_formats import FormatName
    from dukd_train.watching.observers import Observer, Row, Start
else:
    __getattr__ = loaded_later(
        __name__,
        {
            "Evaluation": "dukd_train.scoring.evaluate",
            "Exported": "dukd_train.using.export",
            "Network": "dukd_cache.networks",
            "Observer": "dukd_train.watching.observers",
            "Row": "dukd_train.watching.observers",
            "Start": "dukd_train.watching.observers",
            "TrainConfig": "dukd_train.settings",
        },
    )

__all__ = [
    "DivergedError",
    "Evaluation",
    "Exported",
    "LostError",
    "Network",
    "Observer",
    "Row",
    "RunError",
    "Start",
    "TrainConfig",
    "evaluate",
    "export",
    "load_student",
    "train",
    "upscale",
]


def train(
    config: "TrainConfig", out: str | Path, observers: "Sequence[Observer]" = (), *, allow_changes: bool = False
) -> dict[str, Any]:
    """Train a student into the folder `out`; return what its `run.json` holds.

    A run that was stopped goes on from its last checkpoint.

    Args:
        observers: told how it goes, in this thread.
        allow_changes: go on with a run that was begun with other settings.

    Raises:
        DukdError: what the user can mend.
    """
    from dukd_train.core.run import run

    return run(config, local_path(str(out)), observers, allow_changes=allow_changes)


def load_student(path: str | Path) -> "Network":
    """The network in a weights file, or the student of a run folder, on the CPU; `.to("cuda")` moves it.

    Raises:
        WeightsError: there is no SR network.
    """
    from dukd_cache.networks import load

    return load(local_path(str(path)))


def evaluate(
    network: "Network | str | Path",
    hr: str | Path | None,
    lr: str | Path | None = None,
    metrics: "Sequence[MetricName] | None" = None,
    *,
    lr_template: str = "{stem}x{scale}",
    tile: "Tile" = 0,
    tile_overlap: int = 32,
    self_ensemble: bool = False,
    skip: bool = False,
) -> "Evaluation":
    """Score a network beside bicubic on the images below `hr`: means over them, and image by image.

    Args:
        network: asked where it is; one of a file on the GPU where there is one.
        hr: None: the images of `lr` have no truth; NIQE is all that can be said of them.
        lr: folder of LR images, named after `lr_template`; made by the benchmarks' bicubic if not given.
        metrics: any of psnr_y, ssim_y, psnr, ssim (of RGB), lpips, dists, niqe; the first two, or niqe, if not given.
        tile: side of a tile in LR pixels; 0 is the whole image, as scores are defined; "auto" as memory allows.
        self_ensemble: the mean over the eight flips and turns of an image.
        skip: go on without images that cannot be used, and say in `skipped` why; else they are an error.

    Raises:
        WeightsError: the file holds no SR network.
        ImageError: an image cannot be used, or there is none.
        SettingError: a metric that is unknown or cannot be had, tiles too small for their overlap.
    """
    from dukd_cache.networks import load_any
    from dukd_cache.networks.devices import choose_device
    from dukd_cache.pictures.sources import LrFolder
    from dukd_train.scoring.evaluate import images_of
    from dukd_train.scoring.inference import Inference
    from dukd_train.scoring.scored_weights import score_network
    from dukd_train.scoring.scores import USUAL

    how = Inference(tile, tile_overlap, self_ensemble)
    truth = None if hr is None else local_path(str(hr))
    folder = None if lr is None else LrFolder(local_path(str(lr)), lr_template)
    images_of(truth, folder)  # before a network is loaded
    if isinstance(network, str | Path):
        network = load_any(network_file(str(network))).to(choose_device("auto"))
    names = metrics or (USUAL if truth else ("niqe",))
    return score_network(network, {"": truth}, {"": folder} if folder else {}, names, how, skip=skip)[""]


def upscale(
    network: "Network",
    image: "U8",
    *,
    tile: "Tile" = "auto",
    tile_overlap: int = 32,
    self_ensemble: bool = False,
    precision: "Precision" = "fp32",
) -> "U8":
    """Enlarge an image, uint8 RGB [H,W,3], to uint8 [sH,sW,3], where the network is.

    Args:
        tile: side of a tile in LR pixels; 0 is the whole image; "auto": tiles for images of more than 512×512 pixels,
            smaller ones where memory runs out.

    Raises:
        ImageError: `image` is of another kind, or memory cannot hold the answer.
        AnswerError: the network answers with numbers that are not finite.
        SettingError: a precision that the device or the network does not have, tiles too small for their overlap.
    """
    from dukd_train.scoring.inference import Inference
    from dukd_train.using.upscale import upscale_array

    return upscale_array(network, image, Inference(tile, tile_overlap, self_ensemble, precision))


def export(
    weights: str | Path, to: "FormatName", out: str | Path | None = None, *, overwrite: bool = False
) -> "Exported":
    """Write a network for other software, if the file's answers at several sizes are the network's.

    Args:
        to: onnx, torchscript, pt2, safetensors or pth.
        out: beside the weights, with their stem, if not given.

    Raises:
        SettingError: the file exists and `overwrite` is false, the network cannot be exported, or answers differ.
        WeightsError: the weights hold no SR network.
    """
    from dukd_train.using.export import export_network, format_name

    target = None if out is None else local_path(str(out))
    return export_network(local_path(str(weights)), format_name(to), target, overwrite=overwrite)


def __dir__() -> list[str]:
    return [*__all__]
