"""Finished training runs as a report reads them: folders with settings, facts, weights and curves."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dukd_cache.system.errors import SettingError, printable
from dukd_train.errors import RunError
from dukd_train.keeping import run_folder
from dukd_train.keeping.curve import CURVE, rows_of
from dukd_train.keeping.run_folder import CONFIG, FACTS, UNTIL, WEIGHTS
from dukd_train.keeping.validation import MADE, VALIDATION
from dukd_train.settings import ImageSet, TrainConfig

Curve = list[tuple[int, float]]
"""(step, value)."""

_NEEDED = ("method", "seed", "student", "scale", "steps")
"""Keys of `run.json` that a table shows."""


@dataclass(frozen=True)
class Run:
    """A finished run."""

    name: str
    """The folder's name, with as many parents before it as tell it from others; unique in a report."""
    folder: Path
    config: TrainConfig
    facts: dict[str, Any]
    """The content of `run.json`."""
    earlier: Mapping[str, str] = field(default_factory=dict)
    """Settings that its first steps had: see `run_folder.earlier`."""

    @property
    def weights(self) -> Path:
        """The student."""
        return self.folder / WEIGHTS

    @property
    def scale(self) -> int:
        """SR factor."""
        return int(self.facts["scale"])

    def changed_at(self, settings: Collection[str]) -> int:
        """The last step at which one of `settings` was something else; 0 where all were as they are from the start."""
        until = [key.rpartition(UNTIL) for key in self.earlier]
        return max((int(step) for name, _, step in until if name in settings), default=0)

    def loss(self) -> dict[str, Curve]:
        """The total loss and each of its terms: means since the row before.

        Raises:
            RunError: `curve.csv` is damaged.
        """
        curves: dict[str, Curve] = {}
        for row in rows_of(self.folder / CURVE):
            for name in row:
                if row[name] and name not in ("step", "lr") and not name.endswith(".weight"):
                    curves.setdefault(name, []).append(_point(self.folder / CURVE, row, name))
        return curves

    def validation(self) -> dict[tuple[str, str], Curve]:
        """PSNR-Y in dB by validation set and how it was made (see `validation.made`; empty where that is not known).

        Points without a mean are left out.

        Raises:
            RunError: `validation.csv` is damaged.
        """
        curves: dict[tuple[str, str], Curve] = {}
        for row in rows_of(self.folder / VALIDATION):
            if row.get("psnr_y") != "":
                curve = curves.setdefault((row.get("set", ""), row.get(MADE) or ""), [])
                curve.append(_point(self.folder / VALIDATION, row, "psnr_y"))
        return curves


def load_runs(folders: Sequence[Path], taken: Sequence[str] = ()) -> list[Run]:
    """The runs in `folders`, in their order, each under a name that is unique and none of `taken`.

    Raises:
        RunError: a folder is no finished run or is given twice, or the scales differ.
    """
    if not folders:
        raise RunError("no run folders given")
    paths = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, paths, strict=True):
        if paths.count(path) > 1:
            raise RunError("this run is given twice", folder)
    runs = [_load(folder, name) for folder, name in zip(folders, _names(paths, taken), strict=True)]
    for run in runs:
        if run.scale != runs[0].scale:
            raise RunError(f"scale {run.scale}, but {runs[0].folder} has scale {runs[0].scale}", run.folder)
    return runs


def image_sets(
    runs: Mapping[object, TrainConfig],
    hr: Mapping[str, Path],
    lr_only: Mapping[str, Path],
    lr: Mapping[str, Path],
) -> dict[str, ImageSet]:
    """What to compare runs on, by name: what is given; for `hr`, else the validation sets.

    Args:
        runs: settings, by what errors call their run.
        lr: LR images of sets of `hr`; the others' are made by the benchmarks' bicubic.

    Raises:
        SettingError: there is nothing, or two are called alike; or LR images are of no set.
    """
    alone = {name: ImageSet(lr=folder) for name, folder in lr_only.items()}
    given = {name: ImageSet(hr=folder, lr=lr.get(name)) for name, folder in hr.items()}
    for name in lr.keys() - given.keys():
        raise SettingError(f"no set of `hr` is called {name!r}", "`lr`")
    any_there = any(config.validation.sets for config in runs.values())
    sets = given or (_validation_sets(runs) if any_there or not alone else {})
    for name in alone.keys() & sets.keys():
        raise SettingError(f"there is another set {name}", "`lr_only`", cure="give another name: NAME=FOLDER")
    return sets | alone


def _validation_sets(runs: Mapping[object, TrainConfig]) -> dict[str, ImageSet]:
    """The validation sets of all runs, by name; `runs` as those of `image_sets`.

    Raises:
        SettingError: two runs mean different images by one name, or no run has a set.
    """
    sets: dict[str, tuple[object, ImageSet]] = {}
    for run, config in runs.items():
        for name, images in config.validation.sets.items():
            first, known = sets.setdefault(name, (run, images))
            if known != images:
                raise SettingError(f"validation set {name} differs between {first} and {run}", cure="give `hr`")
    if not sets:
        raise SettingError("no run has a validation set in its settings", cure="give `hr`")
    return {name: images for name, (_, images) in sets.items()}


def _load(folder: Path, name: str) -> Run:
    for file in (CONFIG, FACTS, WEIGHTS):
        if not (folder / file).is_file():
            raise RunError(f"expected a finished run, found no {file}", folder)
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"not JSON ({error})", folder / FACTS) from error
    missing = [key for key in _NEEDED if key not in facts] if isinstance(facts, dict) else _NEEDED
    if missing:
        raise RunError(f"expected {', '.join(_NEEDED)}, found no {missing[0]}", folder / FACTS)
    try:
        config = TrainConfig.load(folder / CONFIG)
        return Run(name, folder, config, facts, run_folder.earlier(folder, config))
    except SettingError as error:
        raise RunError(str(error), folder / CONFIG) from error


def _names(paths: Sequence[Path], taken: Sequence[str]) -> list[str]:
    """The shortest ends of the paths that are unique: `a/x`, `b/x`, and `y` for c/y."""
    depths = [1] * len(paths)
    while True:
        names = [printable("/".join(path.parts[-depth:])) for path, depth in zip(paths, depths, strict=True)]
        clashing = [at for at, name in enumerate(names) if names.count(name) > 1 or name in taken]
        if not clashing:
            return names
        for at in clashing:
            depths[at] += 1


def _point(path: Path, row: dict[str, str], column: str) -> tuple[int, float]:
    try:
        return int(row["step"]), float(row[column])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"expected a step and {column} in every row, found {row}", path) from error
