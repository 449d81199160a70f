"""Finished runs → a folder with table, curves, crops and provenance, to compare students side by side."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.networks.devices import choose_device
from dukd_cache.pictures.sources import LrFolder
from dukd_cache.system.errors import DukdError, SettingError, WeightsError
from dukd_cache.system.files import make_folder, naming, try_folder
from dukd_cache.system.left_overs import is_systems
from dukd_train.report.comparison import BICUBIC, TEACHER, Comparison, compare_networks
from dukd_train.report.crops import crops_sheet
from dukd_train.report.curves import draw_curves, panels
from dukd_train.report.finished_runs import Run, load_runs, validation_sets
from dukd_train.report.groups import apart, group_runs
from dukd_train.report.page import render
from dukd_train.report.standings import Standing, choose_baseline, standings
from dukd_train.report.tables import (
    Contender,
    comma_separated,
    gains_markdown,
    images_csv,
    markdown,
    scores_json,
    seeds_markdown,
)
from dukd_train.scoring.evaluate import ImagePair, pair_images
from dukd_train.scoring.inference import WHOLE, Inference, prepared
from dukd_train.scoring.provenance import device_name, software
from dukd_train.scoring.scores import USUAL, MetricName, Score, left_out_note, scorer
from dukd_train.scoring.skipped import Skipped, conclude
from dukd_train.settings import ImageSet

PAGE = "report.html"

FILES = (
    PAGE,
    "table.md",
    "table.csv",
    "images.csv",
    "scores.json",
    "curves.png",
    "crops.png",
    "provenance.json",
)
"""What a report consists of."""


@dataclass(frozen=True)
class Compared:
    """A report that is written."""

    table: str
    """In Markdown, as in `table.md`."""
    images: int
    """That were scored."""
    skipped: tuple[DukdError, ...]
    """Why each of the others was not."""

    def end(self) -> None:
        """Name the images that were skipped.

        Raises:
            ImageError: there is one.
        """
        conclude(self.skipped, self.images + len(self.skipped), "compared")


def compare(
    runs: Sequence[Path],
    out: Path,
    *,
    hr: Mapping[str, Path] | None = None,
    teacher: Path | None = None,
    pictures: int = 4,
    baseline: str | None = None,
    metrics: Sequence[MetricName] = USUAL,
    how: Inference = WHOLE,
    device: str = "auto",
) -> Compared:
    """Score the students of finished runs on the same images and write a report into the folder `out`.

    Args:
        runs: run folders, of one scale; rows come in this order.
        out: is made, or holds an earlier report, which is replaced.
        hr: folders of HR images to score on, by set. By default the validation sets of all runs.
        teacher: a weights file, for comparison.
        pictures: at most so many pictures are shown, those at which the students differ most.
        baseline: run or group that the page holds the others against image by image; see `choose_baseline`.
        metrics: scores beside PSNR-Y and SSIM-Y, which are always there.
        how: every network is asked; by default on whole images, in float32.
        device: where the networks run: auto, cpu or cuda.

    Raises:
        RunError: a folder is no finished run.
        SettingError: `out` holds something else, it is not clear which images to score on, or there is no such
            baseline.
        WeightsError: a weights file cannot be used, or the teacher's scale is another.
        ImageError: no image can be used. (Some that cannot are skipped for everyone.)
    """
    check_out(out)
    loaded = load_runs(runs, taken=(BICUBIC, TEACHER))
    scale = loaded[0].scale
    groups = group_runs(loaded, taken=(BICUBIC, TEACHER))
    shown = apart(groups)
    others = [BICUBIC, *(run.name for run in loaded), *([TEACHER] if teacher else [])]
    against = choose_baseline(baseline, groups, others)
    sets = {name: ImageSet(hr=folder) for name, folder in hr.items()} if hr else validation_sets(loaded)
    unpaired: dict[str, Skipped] = {name: {} for name in sets}
    pairs = {name: _pairs(images, scale, unpaired[name]) for name, images in sets.items()}
    chosen = choose_device(device)
    contenders = _networks(loaded, teacher, scale, chosen)
    students = [group.runs[0].name for group in shown]
    scores = scorer([*dict.fromkeys((*USUAL, *metrics))], chosen)
    asked = {name: prepared(network, how) for name, network in contenders.items()}
    comparison = compare_networks(asked, students, pairs, scores, pictures)
    skipped = {f"{name}/{image}": error for name in sets for image, error in unpaired[name].items()}
    skipped |= comparison.skipped
    rows = _rows(loaded, contenders, comparison)
    standing = standings(groups, comparison)
    table = _table(rows, standing, comparison, scale, how)
    provenance = {
        **_provenance(loaded, contenders, teacher, sets, comparison),
        "how": str(how),
        **how.facts(),
        "device": device_name(chosen),
        "skipped": {name: str(error) for name, error in skipped.items()},
    }
    drawn = panels(shown)
    make_folder(out.parent)
    with naming(out), TemporaryDirectory(dir=out.parent, prefix=".dukd-report-") as made:
        folder = Path(made)
        texts = {
            "table.md": table,
            "table.csv": comma_separated(rows, [*comparison.images], comparison.metrics),
            "images.csv": images_csv(comparison),
            "scores.json": scores_json(rows),
            "provenance.json": json.dumps(provenance, indent=2, ensure_ascii=False) + "\n",
            PAGE: render(rows, standing, comparison, drawn, provenance, against),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files
        draw_curves(drawn, [group.name for group in shown], folder / "curves.png")
        crops_sheet(comparison.crops, f"×{scale}: where the students differ most").save(folder / "crops.png")
        out.mkdir(exist_ok=True)
        for name in FILES:
            os.replace(folder / name, out / name)
    return Compared(table, sum(map(len, comparison.images.values())), tuple(skipped.values()))


def check_out(out: Path) -> None:
    """Refuse a folder that holds anything but an earlier report, or a part of one whose page is not there.

    Hidden files (like DVC's) and those that systems drop may lie there.

    Raises:
        SettingError: naming what is there.
        OSError: it, or the folder it lies in, cannot be written to.
    """
    if out.exists() and not out.is_dir():
        raise SettingError("expected a folder for the report, found a file", out)
    names = sorted(path.name for path in out.glob("*") if not is_systems(path.name))
    foreign = [name for name in names if name not in FILES or PAGE not in names]
    if foreign:
        raise SettingError(f"expected an empty folder or an earlier report, found {foreign[0]}", out)
    for folder in (out, out.parent):  # it is made beside itself
        try_folder(folder)


def _pairs(images: ImageSet, scale: int, skipped: Skipped) -> list[ImagePair]:
    return pair_images(images.hr, scale, LrFolder(images.lr) if images.lr else None, skipped)


def _networks(runs: Sequence[Run], teacher: Path | None, scale: int, device: torch.device) -> dict[str, Network]:
    """All networks by name, the students first."""
    files = {run.name: run.weights for run in runs} | ({TEACHER: teacher} if teacher else {})
    loaded = {name: networks.load_any(path).to(device) for name, path in files.items()}
    for name, network in loaded.items():
        if network.scale != scale:
            raise WeightsError(f"expected a network of scale {scale}, found scale {network.scale}", files[name])
    return loaded


def _rows(runs: Sequence[Run], contenders: Mapping[str, Network], comparison: Comparison) -> list[Contender]:
    def means(name: str) -> dict[str, Score]:
        return {at: comparison.mean(name, at) for at in comparison.images}

    rows = [Contender(BICUBIC, BICUBIC, means(BICUBIC))]
    for run in runs:
        rows.append(
            Contender(
                name=run.name,
                method=str(run.facts["method"]),
                scores=means(run.name),
                student=str(run.facts["student"]),
                parameters=contenders[run.name].parameters_count,
                steps=int(run.facts["steps"]),
                seed=int(run.facts["seed"]),
                competes=True,
            )
        )
    if network := contenders.get(TEACHER):
        rows.append(Contender(TEACHER, TEACHER, means(TEACHER), network.architecture, network.parameters_count))
    return rows


def _table(
    rows: Sequence[Contender], standing: Sequence[Standing], comparison: Comparison, scale: int, how: Inference
) -> str:
    sets = [*comparison.images]
    images = ", ".join(f"{name} ({len(of_set)})" for name, of_set in comparison.images.items())
    text = f"Scale ×{scale}; PSNR in dB and SSIM of luma, less a border of {scale} pixels; images: {images}.\n"
    if how != WHOLE:
        text += f"Scored in {how}: not to be compared with scores that are made otherwise.\n"
    for name, left_out in comparison.left_out.items():
        text += f"{name}: {left_out_note(left_out)}.\n"
    text += "The best student is in bold.\n\n" + markdown(rows, sets, comparison.metrics)
    if any(len(each.group.runs) > 1 for each in standing):
        text += "\nMean ± standard deviation over seeds:\n\n" + seeds_markdown(standing, sets, comparison.metrics)
    if gains := gains_markdown(standing, sets):
        text += "\nGain in PSNR-Y, dB, paired by seed:\n\n" + gains
    return text


def _provenance(
    runs: Sequence[Run],
    contenders: Mapping[str, Network],
    teacher_file: Path | None,
    sets: Mapping[str, ImageSet],
    comparison: Comparison,
) -> dict[str, Any]:
    """Where the numbers come from: `run.json` of every run, the weights, the images, the teacher, the software."""
    teacher = contenders.get(TEACHER)
    return {
        "runs": {run.name: run.facts for run in runs},
        "fingerprints": {run.name: networks.fingerprint(contenders[run.name]) for run in runs},
        "sets": {
            name: sets[name].model_dump(mode="json")
            | {"images": len(images), "left_out": comparison.left_out.get(name, {})}
            for name, images in comparison.images.items()
        },
        "teacher": teacher
        and {
            "file": str(teacher_file),
            "architecture": teacher.architecture,
            "fingerprint": networks.fingerprint(teacher),
        },
        **software(),
        "crops": [{"picture": crop.picture, "left": crop.left, "top": crop.top} for crop in comparison.crops],
    }
