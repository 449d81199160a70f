"""A weights file on sets of images → scores, their tables and their JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dukd_cache import networks
from dukd_cache.devices import choose_device
from dukd_cache.errors import WeightsError
from dukd_cache.images import LrFolder
from dukd_cache.progress import progress
from dukd_train.scoring.evaluate import Evaluation, ImageScore, evaluate, pair_images
from dukd_train.scoring.inference import WHOLE, Inference, prepared
from dukd_train.scoring.scores import LABELS, USUAL, MetricName, scorer, shown


def score_weights(
    weights: Path,
    sets: Mapping[str, Path],
    lr: Mapping[str, LrFolder],
    scale: int | None,
    device: str,
    metrics: Sequence[MetricName] = USUAL,
    how: Inference = WHOLE,
) -> dict[str, Evaluation]:
    """Score the network in `weights` on the images below each folder of `sets`, by name.

    Args:
        lr: LR folders by set; LR images are made where a set has none.
        scale: refuse a network of another one.
        how: the network is asked; by default on whole images in float32.

    Raises:
        WeightsError: the file holds no SR network, or one of another scale than `scale`.
        ImageError: an image cannot be used.
        SettingError: a metric or the device is not to be had.
    """
    where = choose_device(device)
    score = scorer(metrics, where)
    network = networks.load(weights).to(where)
    if scale not in (None, network.scale):
        raise WeightsError(f"{weights}: expected a network of scale {scale}, found one of scale {network.scale}")
    asked = prepared(network, how)
    pairs = {name: pair_images(hr, network.scale, lr.get(name)) for name, hr in sets.items()}
    with progress("scoring", sum(map(len, pairs.values())), "images") as advance:
        return {name: evaluate(asked, each, score, lambda _scored: advance(1)) for name, each in pairs.items()}


def scores_json(scores: Mapping[str, Evaluation]) -> str:
    """Of one set, `{"mean": …, "images": …}` (see `Evaluation.to_json`); of several, `{"sets": {name: that}}`."""
    plain = {name: evaluation.to_json() for name, evaluation in scores.items()}
    content = {"sets": plain} if len(plain) > 1 else next(iter(plain.values()))
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def tables(scores: Mapping[str, Evaluation]) -> str:
    """A table for each set, under its name where there are several."""
    if len(scores) == 1:
        return "\n".join(map(_table, scores.values()))
    return "\n\n".join(f"{name}\n{_table(evaluation)}" for name, evaluation in scores.items())


def _table(scores: Evaluation) -> str:
    """Image by image and the mean, the network beside bicubic."""
    rows = (*scores.images, scores.means)
    metrics, width = list(scores.means.network), max(len(image.name) for image in rows)
    headings = [LABELS[metric] for metric in metrics]
    widths = [max(7, len(heading)) for heading in headings]
    columns = "  ".join(heading.rjust(wide) for heading, wide in zip(headings, widths, strict=True))
    lines = [f"{'image':{width}}  {columns}    bicubic {columns}"]
    lines += [f"{row.name:{width}}  {_cells(row, widths)}" for row in rows]
    return "\n".join(lines)


def _cells(row: ImageScore, widths: Sequence[int]) -> str:
    network, bicubic = (
        "  ".join(shown(metric, value).rjust(wide) for (metric, value), wide in zip(score.items(), widths, strict=True))
        for score in (row.network, row.bicubic)
    )
    return f"{network}            {bicubic}"
