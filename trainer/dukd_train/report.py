"""Finished runs → a folder with table, curves, crops and provenance, to compare students side by side."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dukd_cache import __version__, networks
from dukd_cache.degrade import upscale
from dukd_cache.errors import ImageError, SettingError, WeightsError
from dukd_cache.images import LrFolder
from dukd_cache.networks import Network
from dukd_train.config import ImageSet
from dukd_train.crops import Crop, crops_sheet, most_different_crop
from dukd_train.curves import draw_curves
from dukd_train.evaluate import ImagePair, Score, mean_score, pair_images, score, super_resolve
from dukd_train.runs import Run, load_runs, seed_groups, validation_sets
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
    device: torch.device | None = None,
    on_image: Callable[[str], None] = lambda _name: None,
) -> str:
    """Score the students of finished runs on the same images and write a report into the folder `out`.

    Args:
        runs: run folders, of one scale; rows come in this order.
        out: is made, or holds an earlier report, which is replaced.
        hr: HR images to score on. By default the validation sets of all runs.
        teacher: a weights file, for comparison.
        pictures: at most so many pictures are shown, those at which the students differ most.
        device: where the networks run; the CPU by default.
        on_image: told the name of each image when all have been scored on it.

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
    sets = {_set_name(hr): ImageSet(hr=hr)} if hr else validation_sets(loaded)
    pairs = {name: _pairs(images, scale) for name, images in sets.items()}
    contenders = _networks(loaded, teacher, scale, device or torch.device("cpu"))
    findings = _score_all(contenders, [run.name for run in loaded], pairs, pictures, on_image)
    table = _table(loaded, contenders, findings, pairs, scale)
    rows = _rows(loaded, contenders, findings)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as made:
        folder = Path(made)
        (folder / "table.md").write_text(table, encoding="utf-8")
        (folder / "table.csv").write_text(comma_separated(rows, list(pairs)), encoding="utf-8")
        (folder / "scores.json").write_text(scores_json(rows), encoding="utf-8")
        draw_curves(loaded, folder / "curves.png")
        crops_sheet(findings.crops, f"×{scale}: where the students differ most").save(folder / "crops.png")
        provenance = _provenance(loaded, contenders.get(TEACHER), teacher, sets, pairs)
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


def _set_name(hr: Path) -> str:
    """Set5 for Set5, and for Set5/HR."""
    place = hr.resolve()
    return place.parent.name if place.name.lower() in ("hr", "gt", "original") else place.name


def _pairs(images: ImageSet, scale: int) -> list[ImagePair]:
    return pair_images(images.hr, scale, LrFolder(images.lr) if images.lr else None)


def _networks(
    runs: Sequence[Run], teacher: Path | None, scale: int, device: torch.device
) -> dict[str, Network]:
    """All networks by name, the students first."""
    files = {run.name: run.weights for run in runs} | ({TEACHER: teacher} if teacher else {})
    loaded = {name: networks.load(path).to(device) for name, path in files.items()}
    for name, network in loaded.items():
        if network.scale != scale:
            raise WeightsError(
                f"{files[name]}: expected a network of scale {scale}, found scale {network.scale}"
            )
    return loaded


def _score_all(
    contenders: Mapping[str, Network],
    students: Sequence[str],
    pairs: Mapping[str, Sequence[ImagePair]],
    pictures: int,
    on_image: Callable[[str], None],
) -> _Findings:
    """Every network on every image; whole answers are kept for one image at a time."""
    means: dict[str, dict[str, Score]] = {name: {} for name in (BICUBIC, *contenders)}
    crops: list[Crop] = []
    for set_name, set_pairs in pairs.items():
        scores: dict[str, list[Score]] = {name: [] for name in means}
        for pair in set_pairs:
            scene = pair.read()
            answers = {BICUBIC: upscale(scene.lr, pair.scale)}
            answers |= {name: super_resolve(network, scene.lr) for name, network in contenders.items()}
            try:
                for name, answer in answers.items():
                    scores[name].append(score(answer, scene.hr, pair.scale))
            except ImageError as error:
                raise ImageError(f"{pair.hr}: {error}") from error
            title = f"{set_name}/{pair.name}"
            crops.append(most_different_crop(title, answers, students, scene.hr, pair.scale))
            crops = sorted(crops, key=lambda crop: -crop.difference)[:pictures]
            on_image(title)
        for name, of_images in scores.items():
            means[name][set_name] = mean_score(of_images)
    return _Findings(means, crops)


def _rows(runs: Sequence[Run], contenders: Mapping[str, Network], findings: _Findings) -> list[Row]:
    rows = [Row(BICUBIC, BICUBIC, findings.scores[BICUBIC])]
    for run in runs:
        rows.append(
            Row(
                name=run.name,
                method=str(run.provenance["method"]),
                scores=findings.scores[run.name],
                student=str(run.provenance["student"]),
                parameters=contenders[run.name].parameters_count,
                steps=int(run.provenance["steps"]),
                seed=int(run.provenance["seed"]),
                competes=True,
            )
        )
    if network := contenders.get(TEACHER):
        about = {"student": network.architecture, "parameters": network.parameters_count}
        rows.append(Row(TEACHER, TEACHER, findings.scores[TEACHER], **about))
    return rows


def _table(
    runs: Sequence[Run],
    contenders: Mapping[str, Network],
    findings: _Findings,
    pairs: Mapping[str, Sequence[ImagePair]],
    scale: int,
) -> str:
    rows = {row.name: row for row in _rows(runs, contenders, findings)}
    images = ", ".join(f"{name} ({len(set_pairs)})" for name, set_pairs in pairs.items())
    text = f"Scale ×{scale}; PSNR in dB and SSIM on luma, without a border of {scale} pixels. Images: {images}.\n"
    text += "The best student is in bold.\n\n" + markdown([*rows.values()], [*pairs])
    if groups := seed_groups(runs):
        text += "\nMean ± standard deviation over seeds:\n\n"
        text += seeds_markdown([[rows[run.name] for run in group] for group in groups], [*pairs])
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
        "runs": {run.name: run.provenance for run in runs},
        "sets": {
            name: images.model_dump(mode="json") | {"images": len(pairs[name])}
            for name, images in sets.items()
        },
        "teacher": teacher
        and {
            "file": str(teacher_file),
            "architecture": teacher.architecture,
            "fingerprint": networks.fingerprint(teacher),
        },
        "dukd_version": __version__,
        "torch_version": torch.__version__,
    }
