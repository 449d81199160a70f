"""A study: rows of settings, over caches and seeds, in one file. It is a sweep whose runs need not be all combinations.

    caches:
      n8: {hr: eight.txt, teacher: DCTLSA_X4.pt, views: {base: 96, zoom_in: 96, zoom_out: 96}}   # built first
      n480: caches/n480                                                                      # or a finished one
    settings: {batch: 8, steps: 4000, student: {architecture: Compact}}                      # of all runs
    rows:
      scratch: {method: scratch}
      dukd: {method: dukd, loss: {rec: 5}}
      longer: {method: dukd, steps: 16000, caches: [n8], seeds: [0]}
      tuned: {after: dukd, steps: 1000}                                 # starts from the student of dukd
    seeds: [0, 1, 2]

gives `n8-scratch,seed=0`, `n8-scratch,seed=1`, …: what differs in its seed alone is one row of the report.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, field_validator

from dukd_cache.command_line.words import NAMES_SETTINGS
from dukd_cache.format.header import Declared, Header
from dukd_cache.format.reader import Cache
from dukd_cache.networks.devices import choose_device
from dukd_cache.pictures.sources import find_images
from dukd_cache.settings import yaml_file
from dukd_cache.settings.model import ByName, CacheAddress, Location, Seed, Settings, changed, content, validated
from dukd_cache.settings.schema import is_free, schema_of
from dukd_cache.system.errors import CacheError, SettingError, WeightsError, unknown_name
from dukd_cache.system.files import make_folder, write_atomically
from dukd_cache.system.terminal import say
from dukd_train.core.parallel import World
from dukd_train.core.served import served
from dukd_train.errors import RunError
from dukd_train.keeping import run_folder
from dukd_train.settings import TrainConfig
from dukd_train.sweeps.grid import Point, distinct, one_scale

CACHES = "caches"
"""The folder, in a study's, of those that it builds."""

_NAME = r"[A-Za-z0-9_.+=-]+"

_DUKD_CACHE = (sys.executable, "-m", "dukd_cache")


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise ValueError(f"{seed} is given twice")
    return seeds


Seeds = Annotated[tuple[Seed, ...], AfterValidator(_distinct)]


class Row(Settings):
    """Settings of a row, on top of those of all; beside them what is no setting of a training."""

    model_config = ConfigDict(extra="allow")

    caches: tuple[str, ...] | None = None
    """Names of caches. Default: all."""
    seeds: Seeds | None = None
    """Default: those of the study."""
    after: str | None = None
    """An earlier row: each run starts from the student that this row has from the same cache and seed."""

    @property
    def settings(self) -> dict[str, Any]:
        """Of its trainings."""
        return dict(self.model_extra or {})


class Study(Settings):
    """Rows of settings, over caches and seeds."""

    presets: ClassVar = None

    caches: Annotated[dict[str, CacheAddress | dict[str, Any]], Field(min_length=1)]
    """By name: a finished cache's folder or address, or the settings of one that `dukd-cache build` makes first."""
    config: str | None = None
    """A preset, or a file, of settings of all runs."""
    settings: ByName[Any] = Field(default={})
    """Of all runs, on top of it."""
    rows: Annotated[dict[str, Row], Field(min_length=1)]
    """By name."""
    seeds: Annotated[Seeds, Field(min_length=1)] = (0,)
    """Of every row."""
    hr: ByName[Location] = Field(default={})
    """Sets of HR images that the report scores on. Default: the validation sets."""
    lr_only: ByName[Location] = Field(default={})
    """Sets of images without HR, photographs: the report's last section, with NIQE."""
    teacher: Location | None = None
    """Weights that the report scores beside the students."""

    @field_validator("caches", "rows")
    @classmethod
    def _names_of_folders(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name in given:
            if not re.fullmatch(_NAME, name):
                raise ValueError(f"expected names of letters, digits and _.+=-, got {name!r}")
        return given

    def points(self, out: Path, changes: Sequence[str] = ()) -> list[Point]:
        """All runs, row by row, of the folder `out`.

        Args:
            changes: `key=value` for all runs, whatever the file says.

        Raises:
            SettingError: a row names a cache or a row that there is not, or its settings are not valid; it is named.
        """
        return distinct(self._runs(out, changes), "rows")

    def _runs(self, out: Path, changes: Sequence[str]) -> Iterator[Point]:
        _refuse_overruled("settings", self.settings)
        for change in changes:
            _refuse_overruled("study", {change.partition("=")[0].strip(): None})
        of_all = content(TrainConfig, self.config, None, _said(self.settings))
        found: dict[str, Point] = {}
        for name, row in self.rows.items():
            _refuse_overruled(f"rows.{name}", row.settings)
            for cache in self._caches_of(name, row):
                for seed in self.seeds if row.seeds is None else row.seeds:
                    own: dict[str, Any] = {"cache": self.place(cache, out), "seed": seed}
                    first = self._first(name, row, cache, seed, found) if row.after else None
                    if first:
                        init = str((out / first.name).absolute())
                        own["student"] = first.config.student.model_dump(mode="json") | {"init": init}
                    config = _config(of_all, name, row.settings, own, changes)
                    if first and str(config.student.init) != own["student"]["init"]:
                        raise SettingError(
                            f"row {name} starts from the students of {row.after}, and this takes their place",
                            "study.student.init",
                        )
                    point = Point(_run(cache, name, seed), config, first.name if first else "")
                    yield found.setdefault(point.name, point)

    def _first(self, name: str, row: Row, cache: str, seed: int, found: Mapping[str, Point]) -> Point:
        """The run, of those `found` so far, from whose student one of the row `name` starts."""
        earlier, after = [*self.rows][: [*self.rows].index(name)], str(row.after)
        if after not in earlier:
            raise SettingError(unknown_name("earlier row", after, earlier), f"rows.{name}.after")
        if "student" in row.settings:
            raise SettingError(f"is that of {after}, where it starts; leave it out", f"rows.{name}.student")
        if _run(cache, after, seed) not in found:
            raise SettingError(f"{after} has no run from cache {cache} with seed {seed}", f"rows.{name}.after")
        return found[_run(cache, after, seed)]

    def place(self, name: str, out: Path) -> str:
        """Where a cache lies: its address, or a folder in `out`, where it is to be built."""
        given = self.caches[name]
        return given if isinstance(given, str) else str((out / CACHES / name).absolute())

    def _caches_of(self, name: str, row: Row) -> tuple[str, ...]:
        if row.caches is None:
            return tuple(self.caches)
        for cache in row.caches:
            if cache not in self.caches:
                raise SettingError(unknown_name("cache", cache, self.caches), f"rows.{name}.caches")
        return row.caches


def _refuse_overruled(where: str, settings: Mapping[str, Any]) -> None:
    """Refuse what the caches and seeds of rows would take the place of without a word."""
    for name in ("cache", "seed"):
        if name in settings:
            raise SettingError(f"has no effect here: give it in `{name}s`", f"{where}.{name}")


def _run(cache: str, row: str, seed: int) -> str:
    return f"{cache}-{row},seed={seed}"


def _config(
    of_all: Mapping[str, Any], name: str, row: Mapping[str, Any], own: Mapping[str, Any], changes: Sequence[str]
) -> TrainConfig:
    """Of a run of the row `name`; a mistake is told of whoever made it: the row, the settings of all, the changes."""
    try:
        return _changed(of_all, {**row, **own}, changes)
    except SettingError as error:
        of_none = {"student": {"architecture": "EDSR"}, **of_all}  # one is required, and a row may be what gives it
        if _mistake(of_none, own, changes) != str(error):
            raise error.about(f"rows.{name}") from error
        raise (error.about("settings") if _mistake(of_none, own, ()) == str(error) else error) from error


def _changed(of_all: Mapping[str, Any], settings: Mapping[str, Any], changes: Sequence[str]) -> TrainConfig:
    return validated(TrainConfig, changed(TrainConfig, changed(TrainConfig, of_all, _said(settings)), changes))


def _mistake(of_all: Mapping[str, Any], settings: Mapping[str, Any], changes: Sequence[str]) -> str:
    try:
        _changed(of_all, settings, changes)
    except SettingError as error:
        return str(error)
    return ""


def check_images(study: Study, points: Iterable[Point]) -> None:
    """Look, before caches are built for hours, for the images that students are scored on, and for the teacher's file.

    Raises:
        ImageError: there are no images in a folder, or no folder.
        WeightsError: the teacher is not there.
    """
    sets = [images for point in points for images in point.config.validation.sets.values()]
    scored = {folder for images in sets if (folder := images.hr or images.lr)}
    for folder in sorted(scored | {*study.hr.values(), *study.lr_only.values()}):
        find_images(folder)
    if study.teacher is not None and not study.teacher.exists():  # a run folder stands for its student
        raise WeightsError("no such file", study.teacher)


def check_caches(study: Study, points: Iterable[Point], out: Path) -> int:
    """Look, before caches are built for hours, whether each can be built and will serve its trainings; their scale.

    Raises:
        CacheError: a finished one is not there.
        SettingError: a cache cannot serve a training, which is named; or they have several scales.
        RunError: a cache cannot be planned; or the folder of a training holds another one, or something else.
    """
    found = {study.place(name, out): _declared(study, name, out) for name in study.caches}
    scale = one_scale({name: found[study.place(name, out)].manifest.scale for name in study.caches})
    for point in points:
        try:
            served(point.config, found[point.config.cache], World(choose_device(point.config.device)))
        except SettingError as error:
            raise error.about(point.name) from error
        folder = out / point.name
        if folder.is_dir() and run_folder.finished(folder, point.config) is None:
            run_folder.claim(folder, point.config, allow=False)
    return scale


@dataclass(frozen=True)
class _Planned:
    """A cache as it will be."""

    root: str
    manifest: Header


def _declared(study: Study, name: str, out: Path) -> Declared:
    place, given = study.place(name, out), study.caches[name]
    if isinstance(given, str):
        return Cache(place)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "header.json"
        _plan([*_words(given, name, place, Path(folder)), "--header", str(file)], name)
        return _Planned(place, Header.model_validate_json(file.read_bytes()))


def _asking() -> dict[str, str]:
    """The environment of a `dukd-cache` that is given a file: a study has settings and no options."""
    return {**os.environ, NAMES_SETTINGS: "1"}


def _plan(words: Sequence[str], cache: str) -> None:
    """Plan a cache; what is wrong with it is told as a mistake of the study."""
    begins, mistake = "dukd-cache: ", ""
    with subprocess.Popen([*_DUKD_CACHE, "plan", *words], stderr=subprocess.PIPE, text=True, env=_asking()) as process:
        for line in process.stderr or ():
            if line.startswith(begins):
                mistake = line.removeprefix(begins).strip()
            else:
                say(line.rstrip("\n"))
    if process.returncode:
        raise RunError(mistake or f"its plan ended with exit code {process.returncode}", f"cache {cache}")


def _build(words: Sequence[str], cache: str) -> None:
    code = subprocess.run([*_DUKD_CACHE, "build", *words], check=False, env=_asking()).returncode
    if code:
        raise RunError(f"its build ended with exit code {code}", f"cache {cache}")


def _words(settings: Mapping[str, Any], name: str, place: str, folder: Path) -> list[str]:
    """What `dukd-cache` is told of a cache, whose settings are written into `folder`."""
    file = _settings_file(name, folder)
    write_atomically(file, yaml_file.dump(settings).encode())
    return ["--config", str(file), "--out", place]


def _settings_file(name: str, folder: Path) -> Path:
    return folder / f"cache-{name}.yaml"


def build_caches(study: Study, out: Path, alone: bool) -> None:
    """Build what is not built yet, one after another, by `dukd-cache build`: a teacher is never loaded here.

    A finished one is looked at by it, too: it asks again what its settings changed, and nothing else.

    Args:
        alone: whether nobody else works on the study: else a cache that is to be built, or built anew, is refused.

    Raises:
        CacheError: it is not finished, or has other settings, and we are not alone.
        RunError: a build failed, or was stopped.
    """
    for name, given in study.caches.items():
        if isinstance(given, str):
            continue
        make_folder(out / "settings")
        place = study.place(name, out)
        if not alone:
            _refuse_other(given, name, place, out / "settings")
            continue
        say(f"study: cache {name}")
        words = _words(given, name, place, out / "settings")
        try:
            _build(words, name)
        except BaseException:
            Path(words[1]).unlink()  # the cache may still be one of other settings: see `_refuse_other`
            raise


def _refuse_other(given: Mapping[str, Any], name: str, place: str, folder: Path) -> None:
    """Refuse a cache that is not finished, or that was built with other settings, which those in `folder` tell."""
    try:
        Cache(place)
    except CacheError as error:
        build = f"dukd-cache build {' '.join(_words(given, name, place, folder))}"
        raise CacheError(error.reason, place, cure=f"build it first: {build}") from error
    file = _settings_file(name, folder)
    if not file.is_file() or yaml_file.parse(file.read_text(encoding="utf-8")) != given:
        raise CacheError(
            "was not built with the settings that the study has now", place, cure="run the study once without `part`"
        )


def _said(settings: Mapping[str, Any], group: tuple[str, ...] = ()) -> Iterator[str]:
    """`settings` as `a.b=value`, one by one; a group that takes any names is given whole."""
    for name, value in settings.items():
        path = (*group, name)
        if isinstance(value, Mapping) and value and not is_free(_SCHEMA, path):
            yield from _said(value, path)
        else:
            yield f"{'.'.join(path)}={json.dumps(value, ensure_ascii=False)}"


_SCHEMA = schema_of(TrainConfig)
