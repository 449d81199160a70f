"""A weights file on sets of images → scores, their tables and their JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.networks.devices import choose_device
from dukd_cache.pictures.sources import LrFolder
from dukd_cache.system.errors import WeightsError
from dukd_cache.system.tables import markdown_table
from dukd_cache.system.terminal import progress
from dukd_train.scoring.evaluate import Evaluation, ImageScore, evaluate, images_of, pair_images
from dukd_train.scoring.inference import WHOLE, Inference, prepared
from dukd_train.scoring.provenance import device_name, files_of, software
from dukd_train.scoring.scores import (
    LABELS,
    USUAL,
    MetricName,
    left_out_note,
    refuse_blind,
    scorer,
    shown,
)
from dukd_train.scoring.skipped import Skipped, conclude
from dukd_train.scoring.super_resolver import device_of


@dataclass(frozen=True)
class Scored:
    """The scores of a weights file."""

    sets: Mapping[str, Evaluation]
    """By name."""
    made: Mapping[str, Any]
    """How, JSON-able: weights, images, tiles, precision, device, versions. Compare with what was made alike."""
    how: Inference

    @property
    def count(self) -> int:
        """Images that were scored."""
        return sum(len(each.images) for each in self.sets.values())

    def end(self) -> None:
        """Name the images that were skipped.

        Raises:
            ImageError: there is one.
        """
        every = [error for each in self.sets.values() for error in each.skipped.values()]
        conclude(every, len(every) + self.count, "scored")


def score_weights(
    weights: Path,
    sets: Mapping[str, Path | None],
    lr: Mapping[str, LrFolder],
    scale: int | None,
    device: str,
    metrics: Sequence[MetricName] = USUAL,
    how: Inference = WHOLE,
) -> Scored:
    """Score the network in `weights` on the images below each folder of `sets`, by name.

    Args:
        sets: folders of HR images; None where a set has LR images only.
        lr: LR folders by set; LR images are made where a set has none.
        scale: refuse a network of another one.
        how: the network is asked; by default on whole images in float32.

    Raises:
        WeightsError: the file holds no SR network, or one of another scale than `scale`.
        ImageError: a folder cannot be used. (Images that cannot be are skipped.)
        SettingError: a metric or the device is not to be had; no metric for a set without HR images.
    """
    where = choose_device(device)
    for name, hr in sets.items():
        images_of(hr, lr.get(name))  # before a network is loaded
    network = networks.load_any(weights).to(where)
    if scale not in (None, network.scale):
        raise WeightsError(f"expected a network of scale {scale}, found one of scale {network.scale}", weights)
    found = score_network(network, sets, lr, metrics, how, skip=True)
    return Scored(found, _made(weights, network, sets, lr, how), how)


def score_network(
    network: Network,
    sets: Mapping[str, Path | None],
    lr: Mapping[str, LrFolder],
    metrics: Sequence[MetricName] = USUAL,
    how: Inference = WHOLE,
    *,
    skip: bool = False,
) -> dict[str, Evaluation]:
    """The same of a network that is loaded, where its parameters are.

    Args:
        skip: go on without images that cannot be used; else they are an error.

    Raises:
        ImageError: a folder cannot be used; without `skip`, an image.
        SettingError: tiles too small for their overlap, a metric that is not to be had, or none for a set without HR
            images.
    """
    unpaired: dict[str, Skipped] = {name: {} for name in sets}
    pairs = {
        name: pair_images(hr, network.scale, lr.get(name), unpaired[name] if skip else None)
        for name, hr in sets.items()
    }
    for name, hr in sets.items():
        if hr is None:
            refuse_blind(metrics, f"set {name}" if name else lr[name].root)
    asked, score = prepared(network, how), scorer(metrics, device_of(network))
    found: dict[str, Evaluation] = {}
    with progress("scoring", sum(map(len, pairs.values())), "images") as advance:
        for name, each in pairs.items():
            scored = evaluate(asked, each, score, lambda _name: advance(1), skip=skip)
            found[name] = Evaluation(scored.images, unpaired[name] | scored.skipped)
    return found


def scores_json(scores: Scored) -> str:
    """`made`, and of one set what `Evaluation.to_json` says; of several, `sets: {name: that}`."""
    plain = {name: evaluation.to_json() for name, evaluation in scores.sets.items()}
    content = {"sets": plain} if len(plain) > 1 else next(iter(plain.values()))
    return json.dumps(content | {"made": scores.made}, indent=2, ensure_ascii=False) + "\n"


def tables(scores: Scored) -> str:
    """A table for each set, under its name where there are several; below it, in what its numbers are not the usual."""
    several = len(scores.sets) > 1
    texts = [
        "\n".join([*([name] if several else []), _table(evaluation), *_notes(evaluation, scores.how)])
        for name, evaluation in scores.sets.items()
        if evaluation.images
    ]
    return "\n\n".join(texts)


def _made(
    weights: Path, network: Network, sets: Mapping[str, Path | None], lr: Mapping[str, LrFolder], how: Inference
) -> dict[str, Any]:
    images = {}
    for name, hr in sets.items():
        folder = lr.get(name)
        whence = (f"{folder.root}/{folder.template}" if hr else str(folder.root)) if folder else "bicubic"
        files = files_of(pair_images(hr, network.scale, folder, {}))
        images[name] = {"hr": str(hr) if hr else None, "lr": whence, "files": files}
    return {
        "weights": {
            "file": str(weights),
            "fingerprint": networks.fingerprint(network),
            "architecture": network.architecture,
            "scale": network.scale,
        },
        **how.facts(),
        "border": network.scale,
        "images": images,
        "device": device_name(device_of(network)),
        **software(),
    }


def _notes(scores: Evaluation, how: Inference) -> list[str]:
    notes = [left_out_note(scores.left_out)]
    if how != WHOLE:
        notes.append(f"scored in {how}: not to be compared with scores that are made otherwise")
    return [note for note in notes if note]


def _table(scores: Evaluation) -> str:
    """Image by image and the mean, the network beside bicubic."""
    labels = [LABELS[metric] for metric in scores.means.network]
    headings = ["image", *labels, *(f"bicubic {label}" for label in labels)]
    return markdown_table(headings, [_cells(row) for row in (*scores.images, scores.means)]).rstrip()


def _cells(row: ImageScore) -> list[str]:
    scores = (row.network, row.bicubic)
    return [row.name, *(shown(metric, value) for score in scores for metric, value in score.items())]
