"""Finished runs → a folder with table, curves, crops and provenance, to compare students side by side."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dukd_cache import __version__, networks
from dukd_cache.degrade import upscale
from dukd_cache.devices import choose_device
from dukd_cache.errors import ImageError, SettingError, WeightsError
from dukd_cache.images import LrFolder
from dukd_cache.networks import Network
from dukd_cache.progress import progress
from dukd_train.config import ImageSet
from dukd_train.crops import Crop, crops_sheet, most_different_crop
from dukd_train.curves import draw_curves
from dukd_train.evaluate import ImagePair, pair_images
from dukd_train.finished_runs import Run, load_runs, seed_groups, validation_sets
from dukd_train.image_sets import set_name
from dukd_train.inference import super_resolve
from dukd_train.metrics import U8
from dukd_train.scores import Score, mean_score, usual_score
from dukd_train.tables import Row, comma_separated, markdown, scores_json, seeds_markdown

BICUBIC, TEACHER = "bicubic", "teacher"
"""Rows beside the runs; no run gets one of these names."""

FILES = ("table.md", "table.csv", "scores.json", "curves.png", "crops.png", "provenance.json")
"""What a report consists of."""


@dataclass(frozen=True)
class _Findings:
    """Means by name and set, and the crops to show."""

    scores: dict[str, dict[str, Score]]
    crops: list[Crop]


def compare(
    runs: Sequence[Path],
    out: Path,
    *,
    hr: Path | None = None,
    teacher: Path | None = None,
    pictures: int = 4,
    device: str = "auto",
) -> str:
    """Score the students of finished runs on the same images and write a report into the folder `out`.

    Args:
        runs: run folders, of one scale; rows come in this order.
        out: is made, or holds an earlier report, which is replaced.
        hr: HR images to score on. By default the validation sets of all runs.
        teacher: a weights file, for comparison.
        pictures: at most so many pictures are shown, those at which the students differ most.
        device: where the networks run: auto, cpu or cuda.

    Returns:
        The table in Markdown, as in `table.md`.

    Raises:
        RunError: a folder is no finished run.
        SettingError: `out` holds something else, or it is not clear which images to score on.
        WeightsError: a weights file cannot be used, or the teacher's scale is another.
        ImageError: an image cannot be used.
    """
    check_out(out)
    loaded = load_runs(runs, taken=(BICUBIC, TEACHER))
    scale = loaded[0].scale
    sets = {set_name(hr): ImageSet(hr=hr)} if hr else validation_sets(loaded)
    pairs = {name: _pairs(images, scale) for name, images in sets.items()}
    contenders = _networks(loaded, teacher, scale, choose_device(device))
    findings = _score_all(contenders, [run.name for run in loaded], pairs, pictures)
    rows = _rows(loaded, contenders, findings)
    table = _table(loaded, rows, pairs, scale)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as made:
        folder = Path(made)
        (folder / "table.md").write_text(table, encoding="utf-8")
        (folder / "table.csv").write_text(comma_separated(rows, list(pairs)), encoding="utf-8")
        (folder / "scores.json").write_text(scores_json(rows), encoding="utf-8")
        draw_curves(loaded, folder / "curves.png")
        crops_sheet(findings.crops, f"×{scale}: where the students differ most").save(folder / "crops.png")
        provenance = _provenance(loaded, contenders.get(TEACHER), teacher, sets, pairs)
        provenance["crops"] = [{"picture": at.picture, "left": at.left, "top": at.top} for at in findings.crops]
        text = json.dumps(provenance, indent=2, ensure_ascii=False) + "\n"
        (folder / "provenance.json").write_text(text, encoding="utf-8")
        out.mkdir(exist_ok=True)
        for name in FILES:
            os.replace(folder / name, out / name)
    return table


def check_out(out: Path) -> None:
    """Refuse a place that holds anything but an earlier report; hidden files (like DVC's) may lie there.

    Raises:
        SettingError: naming what is there.
    """
    if out.exists() and not out.is_dir():
        raise SettingError(f"{out}: expected a folder for the report, found a file")
    foreign = sorted(path.name for path in out.glob("[!.]*") if path.name not in FILES)
    if foreign:
        raise SettingError(f"{out}: expected an empty folder or an earlier report, found {foreign[0]}")


def _pairs(images: ImageSet, scale: int) -> list[ImagePair]:
    return pair_images(images.hr, scale, LrFolder(images.lr) if images.lr else None)


def _networks(runs: Sequence[Run], teacher: Path | None, scale: int, device: torch.device) -> dict[str, Network]:
    """All networks by name, the students first."""
    files = {run.name: run.weights for run in runs} | ({TEACHER: teacher} if teacher else {})
    loaded = {name: networks.load(path).to(device) for name, path in files.items()}
    for name, network in loaded.items():
        if network.scale != scale:
            raise WeightsError(f"{files[name]}: expected a network of scale {scale}, found scale {network.scale}")
    return loaded


def _score_all(
    contenders: Mapping[str, Network],
    students: Sequence[str],
    pairs: Mapping[str, Sequence[ImagePair]],
    pictures: int,
) -> _Findings:
    """Every network on every image; whole answers are kept for one image at a time."""
    means: dict[str, dict[str, Score]] = {name: {} for name in (BICUBIC, *contenders)}
    crops: list[Crop] = []
    with progress("comparing", sum(map(len, pairs.values())), "images") as advance:
        for set_name, set_pairs in pairs.items():
            scores: dict[str, list[Score]] = {name: [] for name in means}
            for pair in set_pairs:
                answers, truth = _answers(contenders, pair)
                for name, found in _scores(answers, truth, pair).items():
                    scores[name].append(found)
                title = f"{set_name}/{pair.name}"
                crops.append(most_different_crop(title, answers, students, truth, pair.scale))
                crops = sorted(crops, key=lambda crop: -crop.difference)[:pictures]
                advance(1)
            for name, of_images in scores.items():
                means[name][set_name] = mean_score(of_images)
    return _Findings(means, crops)


def _answers(contenders: Mapping[str, Network], pair: ImagePair) -> tuple[dict[str, U8], U8]:
    """What everyone makes of an LR image, by name, and the truth."""
    scene = pair.read()
    answers = {name: super_resolve(network, scene.lr) for name, network in contenders.items()}
    return {BICUBIC: upscale(scene.lr, pair.scale)} | answers, scene.hr


def _scores(answers: Mapping[str, U8], truth: U8, pair: ImagePair) -> dict[str, Score]:
    try:
        return {name: usual_score(answer, truth, pair.scale) for name, answer in answers.items()}
    except ImageError as error:
        raise ImageError(f"{pair.hr}: {error}") from error


def _rows(runs: Sequence[Run], contenders: Mapping[str, Network], findings: _Findings) -> list[Row]:
    rows = [Row(BICUBIC, BICUBIC, findings.scores[BICUBIC])]
    for run in runs:
        rows.append(
            Row(
                name=run.name,
                method=str(run.facts["method"]),
                scores=findings.scores[run.name],
                student=str(run.facts["student"]),
                parameters=contenders[run.name].parameters_count,
                steps=int(run.facts["steps"]),
                seed=int(run.facts["seed"]),
                competes=True,
            )
        )
    if network := contenders.get(TEACHER):
        scores = findings.scores[TEACHER]
        rows.append(Row(TEACHER, TEACHER, scores, network.architecture, network.parameters_count))
    return rows


def _table(runs: Sequence[Run], rows: Sequence[Row], pairs: Mapping[str, Sequence[ImagePair]], scale: int) -> str:
    images = ", ".join(f"{name} ({len(set_pairs)})" for name, set_pairs in pairs.items())
    text = f"Scale ×{scale}; PSNR in dB and SSIM of luma, less a border of {scale} pixels; images: {images}.\n"
    text += "The best student is in bold.\n\n" + markdown(rows, [*pairs])
    if groups := seed_groups(runs):
        by_name = {row.name: row for row in rows}
        text += "\nMean ± standard deviation over seeds:\n\n"
        text += seeds_markdown([[by_name[run.name] for run in group] for group in groups], [*pairs])
    return text


def _provenance(
    runs: Sequence[Run],
    teacher: Network | None,
    teacher_file: Path | None,
    sets: Mapping[str, ImageSet],
    pairs: Mapping[str, Sequence[ImagePair]],
) -> dict[str, Any]:
    """Where the numbers come from: `run.json` of every run, the images, the teacher, the software."""
    return {
        "runs": {run.name: run.facts for run in runs},
        "sets": {name: images.model_dump(mode="json") | {"images": len(pairs[name])} for name, images in sets.items()},
        "teacher": _teacher_facts(teacher, teacher_file) if teacher else None,
        "dukd_version": __version__,
        "torch_version": torch.__version__,
    }


def _teacher_facts(teacher: Network, file: Path | None) -> dict[str, str]:
    return {
        "file": str(file),
        "architecture": teacher.architecture,
        "fingerprint": networks.fingerprint(teacher),
    }
