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
from dukd_cache.system.terminal import say
from dukd_train.keeping.validation import made_of
from dukd_train.report.comparison import BICUBIC, TEACHER, Comparison, compare_networks
from dukd_train.report.crops import PHOTOGRAPH, crops_sheet
from dukd_train.report.curves import draw_curves, panels
from dukd_train.report.finished_runs import Run, image_sets, load_runs
from dukd_train.report.groups import apart, group_runs
from dukd_train.report.headlines import headline
from dukd_train.report.latex import latex
from dukd_train.report.page import render
from dukd_train.report.standings import choose_baseline, standings
from dukd_train.report.tables import Contender, comma_separated, images_csv, scores_json, text_of
from dukd_train.scoring.evaluate import ImagePair, pair_images
from dukd_train.scoring.inference import WHOLE, Inference, prepared
from dukd_train.scoring.provenance import device_name, software
from dukd_train.scoring.scores import USUAL, MetricName, Score, Scorer, scorer
from dukd_train.scoring.skipped import Skipped, conclude
from dukd_train.settings import ImageSet
from dukd_train.watching.outlook import multiply_adds

PAGE = "report.html"

FILES = (
    PAGE,
    "table.md",
    "table.csv",
    "table.tex",
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
    lr: Mapping[str, Path] | None = None,
    lr_only: Mapping[str, Path] | None = None,
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
        lr: folders of their LR images, by set; made by the benchmarks' bicubic where a set has none.
        lr_only: folders of images without HR, by set: the page shows them, with NIQE where its model is at hand.
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
    sets = image_sets({run.folder: run.config for run in loaded}, hr or {}, lr_only or {}, lr or {})
    unpaired: dict[str, Skipped] = {name: {} for name in sets}
    found = {name: _pairs(images, scale, unpaired[name]) for name, images in sets.items()}
    if not any(found.values()):
        without = [error for each in unpaired.values() for error in each.values()]
        conclude(without, len(without), "compared")
    pairs = {name: each for name, each in found.items() if each and sets[name].hr is not None}
    alone = {name: each for name, each in found.items() if each and sets[name].hr is None}
    chosen = choose_device(device)
    contenders = _networks(loaded, teacher, scale, chosen)
    naturalness = _naturalness("niqe" in metrics) if alone else Scorer({})
    students = [group.runs[0].name for group in shown]
    scores = scorer([*dict.fromkeys((*USUAL, *metrics))], chosen)
    asked = {name: prepared(network, how) for name, network in contenders.items()}
    comparison = compare_networks(asked, students, pairs, scores, pictures)
    photographs = compare_networks(asked, students, alone, naturalness, pictures, PHOTOGRAPH)
    skipped = {f"{name}/{image}": error for name in sets for image, error in unpaired[name].items()}
    skipped |= comparison.skipped | photographs.skipped
    hows = {name: made_of(each, how) for name, each in found.items() if each}
    rows = _rows(loaded, contenders, [comparison, photographs])
    standing = standings(groups, comparison)
    references = [row for row in rows if not row.competes]
    headlines = {name: headline(standing, references, name) for name in comparison.images}
    table = text_of(rows, standing, comparison, photographs, headlines, scale, how)
    provenance = {
        **_provenance(loaded, contenders, teacher, sets, hows, [comparison, photographs]),
        "costs": {
            row.name: {key: getattr(row, key) for key in ("parameters", "multiply_adds", "milliseconds")}
            for row in rows
            if row.parameters
        },
        "how": str(how),
        **how.facts(),
        "device": device_name(chosen),
        "skipped": {name: str(error) for name, error in skipped.items()},
    }
    beside = {
        (name, hows[name]): {row.name: row.scores[name]["psnr_y"] for row in references} for name in comparison.images
    }
    paper = latex(standing, references, [*comparison.images], comparison.metrics)
    drawn = panels(shown, beside)
    make_folder(out.parent)
    with naming(out), TemporaryDirectory(dir=out.parent, prefix=".dukd-report-") as made:
        folder = Path(made)
        texts = {
            "table.md": table,
            "table.csv": comma_separated(rows, [*comparison.images], comparison.metrics),
            "table.tex": paper,
            "images.csv": images_csv(comparison),
            "scores.json": scores_json(rows),
            "provenance.json": json.dumps(provenance, indent=2, ensure_ascii=False) + "\n",
            PAGE: render(rows, standing, comparison, photographs, headlines, drawn, provenance, against, paper),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files
        draw_curves(drawn, [group.name for group in shown], folder / "curves.png")
        crops = [*comparison.crops, *photographs.crops]
        crops_sheet(crops, f"×{scale}: where the students differ most").save(folder / "crops.png")
        out.mkdir(exist_ok=True)
        for name in FILES:
            os.replace(folder / name, out / name)
    images = [*comparison.images.values(), *photographs.images.values()]
    return Compared(table, sum(map(len, images)), tuple(skipped.values()))


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


def _naturalness(asked: bool) -> Scorer:
    """NIQE; none, which is said, where its model is missing and nobody `asked` for it."""
    try:
        return scorer(("niqe",))
    except SettingError as error:
        if asked:
            raise
        say(f"images without HR are compared by eye alone: {error}")
        return Scorer({})


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


def _rows(runs: Sequence[Run], contenders: Mapping[str, Network], comparisons: Sequence[Comparison]) -> list[Contender]:
    def means(name: str) -> dict[str, Score]:
        return {at: each.mean(name, at) for each in comparisons for at in each.images}

    def takes(name: str) -> dict[str, Any]:
        network = contenders[name]
        times = [each.milliseconds[name] for each in comparisons if name in each.milliseconds]
        return {
            "parameters": network.parameters_count,
            "multiply_adds": multiply_adds(network),
            "milliseconds": times[0],
        }

    rows = [Contender(BICUBIC, BICUBIC, means(BICUBIC))]
    for run in runs:
        steps, seed = int(run.facts["steps"]), int(run.facts["seed"])
        method = str(run.facts["method"])
        rows.append(
            Contender(
                run.name, method, means(run.name), str(run.facts["student"]), **takes(run.name),
                steps=steps, seed=seed, competes=True,
            )
        )  # fmt: skip
    if TEACHER in contenders:
        architecture = contenders[TEACHER].architecture
        rows.append(Contender(TEACHER, TEACHER, means(TEACHER), architecture, **takes(TEACHER)))
    return rows


def _provenance(
    runs: Sequence[Run],
    contenders: Mapping[str, Network],
    teacher_file: Path | None,
    sets: Mapping[str, ImageSet],
    hows: Mapping[str, str],
    comparisons: Sequence[Comparison],
) -> dict[str, Any]:
    """Where the numbers come from: `run.json` of every run, the weights, the images, the teacher, the software."""
    teacher = contenders.get(TEACHER)
    return {
        "runs": {run.name: run.facts for run in runs},
        "fingerprints": {run.name: networks.fingerprint(contenders[run.name]) for run in runs},
        "sets": {
            name: sets[name].model_dump(mode="json")
            | {"images": len(images), "made": hows[name], "left_out": each.left_out.get(name, {})}
            for each in comparisons
            for name, images in each.images.items()
        },
        "teacher": teacher
        and {
            "file": str(teacher_file),
            "architecture": teacher.architecture,
            "fingerprint": networks.fingerprint(teacher),
        },
        **software(),
        "crops": [
            {"picture": crop.picture, "left": crop.left, "top": crop.top} for each in comparisons for crop in each.crops
        ],
    }
