"""The presets of trainings: the paper's students, alike where they should be, and a training step of each."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.conftest import PROJECT

from dukd_cache import networks
from dukd_cache.commands.config import CacheConfig
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings import presets
from dukd_cache.settings.model import validated
from dukd_cache.system.errors import SettingError
from dukd_train.core.run import run
from dukd_train.settings import TrainConfig

FILES = [PROJECT / "trainer/dukd_train/presets" / f"{name}.yaml" for name in presets.names("dukd_train.presets")]
OF_REAL_IMAGES = {
    "real_x4_compact": "photos --teacher RealESRGAN_x4plus.pth --out caches/real_x4",
    "real_x2_compact": "photos --teacher RealESRGAN_x4plus.pth --scale 2 --out caches/real_x2",
    "real_x4_span": "photos --teacher RealESRGAN_x4plus.pth --out caches/real_x4",
    "anime_x4_compact": "drawings --teacher RealESRGAN_x4plus_anime_6B.pth --out caches/anime_x4",
}
"""What makes their caches."""
PAPER = {"edsr": ("EDSR", 2.7e6), "rcan": ("RCAN", 5.2e6), "swinir": ("SwinIR", 1.2e6)}
"""Architecture and parameters (of the ×4 network) of the paper's students, section 4.1."""


class Files(NamedTuple):
    """What one of the authors' option files says: options/…/dukd_….yml of yun224/DUKD."""

    rec: float
    """Weight of pixel_opt: of the truth of base, and of zoom_out."""
    zoom_out: bool
    chance: float
    """Of each part of F; 0 where the file has no `noisy`."""


AUTHORS = {("edsr", scale): Files(5.0, True, 0.3) for scale in (2, 3, 4)}
AUTHORS |= {("swinir", scale): Files(5.0, False, 0.3) for scale in (2, 3, 4)}
AUTHORS |= {
    ("rcan", 2): Files(1.0, False, 0.0),
    ("rcan", 3): Files(2.0, True, 0.3),
    ("rcan", 4): Files(1.0, False, 0.0),
}
TEACHERS = {"EDSR": "edsr", "RCAN": "rcan", "SwinIR": "swinir"}
NAME = re.compile(r"(?:(?P<teacher>[a-z]+)_to_)?(?P<student>[a-z]+)_x(?P<scale>[234])")


def preset(name: str) -> TrainConfig:
    return TrainConfig.load(name)


def flat(name: str) -> dict[str, Any]:
    return preset(name).model_dump(mode="json")


def test_they_are_all_there() -> None:
    names = {path.stem for path in FILES}
    assert {f"{student}_x{scale}" for student in PAPER for scale in (2, 3, 4)} <= names
    assert {"swinir_to_edsr_x4", "edsr_to_swinir_x4", "few", "small", *OF_REAL_IMAGES} <= names


def apart_from_what_the_files_say(made: TrainConfig) -> dict[str, Any]:
    """A preset without what the authors' option files differ in."""
    content = made.model_dump(mode="json")
    for name in ("rec", "zoom_out_rec", "zoom_out_kd"):
        del content["loss"][name]["weight"]
    del content["augment"]["zoom"]
    return content


@pytest.mark.parametrize("student", PAPER)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_they_follow_the_authors_option_files(student: str, scale: int) -> None:
    made, found = preset(f"{student}_x{scale}"), AUTHORS[student, scale]
    loss = made.loss.of("dukd")
    weights = {"rec": found.rec, "kd": 1.0, "zoom_in": 1.0}
    weights |= {"zoom_out_rec": found.rec, "zoom_out_kd": 1.0} if found.zoom_out else {}
    assert {name: term.weight for name, term in loss.items()} == weights
    assert {made.augment.zoom.hflip, made.augment.zoom.vflip, made.augment.zoom.transpose} == {found.chance}
    assert (made.augment.zoom.invert, made.augment.zoom.permute) == (found.chance, 0.0)
    assert (made.steps, made.batch, made.patch, made.optimizer.lr) == (250_000, 16, 48, 1e-4)
    assert student != "edsr" or made.student.settings["res_scale"] == 0.1


@pytest.mark.parametrize("student", PAPER)
def test_scales_differ_in_the_cache_and_what_the_files_say(student: str) -> None:
    first, *others = (apart_from_what_the_files_say(preset(f"{student}_x{scale}")) for scale in (2, 3, 4))
    for scale, other in zip((3, 4), others, strict=True):
        cache = first["cache"].replace("x2", f"x{scale}")
        assert other == first | {"scale": scale, "cache": cache}


def test_students_differ_in_the_network_and_what_the_files_say() -> None:
    edsr = apart_from_what_the_files_say(preset("edsr_x4"))
    for name in ("rcan", "swinir"):
        other = apart_from_what_the_files_say(preset(f"{name}_x4"))
        assert other == edsr | {key: other[key] for key in ("cache", "student")}


def test_across_architectures_only_the_cache_is_another() -> None:
    assert flat("swinir_to_edsr_x4") == flat("edsr_x4") | {"cache": flat("swinir_x4")["cache"]}
    assert flat("edsr_to_swinir_x4") == flat("swinir_x4") | {"cache": flat("edsr_x4")["cache"]}


def test_they_say_what_the_defaults_are() -> None:
    """What a preset spells out for its readers is what `dukd-train` does anyhow, all but what the files say."""
    made = preset("swinir_x2")
    default = apart_from_what_the_files_say(validated(TrainConfig, {"cache": made.cache}))
    student = made.student.model_dump(mode="json")
    assert apart_from_what_the_files_say(made) == default | {"scale": 2, "patch": 48, "student": student}


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem not in ("few", "small", *OF_REAL_IMAGES)], ids=lambda path: path.stem
)
def test_the_header_makes_the_cache_that_is_read(path: Path) -> None:
    named = NAME.fullmatch(path.stem)
    assert named is not None
    made = preset(path.stem)
    assert str(made.scale) == named["scale"]
    text = path.read_text()
    built = re.search(r"^#   dukd-cache build .* --teacher (\w+)_x(\d)\.pth --out (\S+) ", text, re.MULTILINE)
    assert built is not None
    assert TEACHERS[built[1]] == named["teacher"] or (not named["teacher"] and TEACHERS[built[1]] == named["student"])
    assert built[2] == named["scale"]
    assert str(Path(built[3]).absolute()) == made.cache
    start = re.search(r"--set student.init=runs/(\w+)/student.safetensors", text)
    assert (start is not None) == (path.stem == "edsr_x4"), "the only student that does not start from random weights"
    assert start is None or start[1] == f"{named['student']}_x2"


@pytest.mark.parametrize(("name", "words"), OF_REAL_IMAGES.items())
def test_those_of_real_images_learn_the_teachers_answers_alone(name: str, words: str) -> None:
    """And all but the scale, the student and the cache is alike."""
    made = preset(name)
    assert f"#   dukd-cache build --config real --hr {words}\n" in made_text(name)
    assert made.cache == str(Path(words.rpartition(" ")[2]).absolute())
    assert {term.to for term in made.loss.of("dukd").values()} == {"teacher"}
    assert made.augment.zoom.invert == 0
    alike = flat("real_x4_compact")
    assert flat(name) == alike | {key: flat(name)[key] for key in ("scale", "student", "cache")}


def test_few_needs_what_its_cache_has() -> None:
    made = preset("few")
    views = {term.view for term in made.loss.of(made.method).values()}
    asked = CacheConfig.load("few", None, ["hr=photos", "teacher=SwinIR_x4.pth"])
    assert views == {view for view in VIEWS if asked.crops(view)}
    assert made.patch == asked.patch
    assert made.augment.base.permute == made.augment.zoom.permute == 0.5


def made_text(name: str) -> str:
    return next(path for path in FILES if path.stem == name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_the_comments_set_can_be_set(path: Path) -> None:
    words = re.findall(r"--set (\S+=[^\s,]+)", path.read_text())
    assert {word.partition("=")[0] for word in words} >= {"validation.every", "validation.sets.Set5.hr"}
    made = TrainConfig.load(path, None, words)
    assert made.validation.sets["Set5"].hr == Path("Set5/HR").absolute()


def test_a_name_is_a_preset_and_all_else_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("small", "small.yaml", "other"):
        (tmp_path / name).write_text("cache: c\nsteps: 3\n")
    assert TrainConfig.load("small").steps == 2000
    for file in ("./small", "small.yaml", str(tmp_path / "small"), Path("small")):
        assert TrainConfig.load(file).steps == 3


@pytest.mark.parametrize(
    ("source", "section", "begin", "end"),
    [
        ("edsr_x5", None, "unknown preset 'edsr_x5': did you mean 'edsr_x4'? (valid: anime_x4_compact, ", ")"),
        ("other", None, "unknown preset 'other' (valid: ", "; the file there is ./other"),
        ("configs/edsr_x4.yaml", None, "configs/edsr_x4.yaml: no such config file; the preset", "is `config=edsr_x4`"),
        ("small", "train", "`section=train`: the preset small has no parts", ""),
    ],
)
def test_what_is_neither(
    source: str, section: str | None, begin: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").touch()
    with pytest.raises(SettingError) as caught:
        TrainConfig.load(source, section)
    assert str(caught.value).startswith(begin)
    assert str(caught.value).endswith(end)


@pytest.mark.parametrize("student", PAPER)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_students_are_as_large_as_the_papers(student: str, scale: int) -> None:
    asked = preset(f"{student}_x{scale}").student
    network = networks.build(asked.architecture, scale, asked.settings)
    architecture, parameters = PAPER[student]
    assert network.architecture == architecture
    # The upsampler makes a difference: the paper's numbers are those of ×4.
    assert network.parameters_count == pytest.approx(parameters, rel=0.03 if scale == 4 else 0.1)


@pytest.fixture(scope="module")
def cache_of(
    build_cache: Callable[..., Path], hr_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Path]:
    """A cache of any scale, taught by a small network: the presets' records, but smaller and fewer."""

    def build(scale: int) -> Path:
        torch.manual_seed(0)
        teacher = networks.build("EDSR", scale, {"channels": 4, "blocks": 1})
        weights = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
        networks.save(teacher, weights, {})
        return build_cache(weights=weights, hr=(hr_folder,), patch=12, base=1, zoom_in=1, zoom_out=1)

    return build


QUICK = ("edsr_x2", "rcan_x3", "edsr_to_swinir_x4")
"""Every architecture and every scale; the others take their time."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(path.stem, marks=() if path.stem in QUICK else pytest.mark.slow) for path in FILES],
)
def test_a_step_of_training(name: str, cache_of: Callable[[int], Path], tmp_path: Path) -> None:
    asked = preset(name)
    smaller = {"cache": cache_of(asked.scale or 4), "patch": None, "batch": 1, "steps": 1, "device": "cpu"}
    facts = run(asked.model_copy(update=smaller), tmp_path / "run")
    assert facts["scale"] == (asked.scale or 4)
    assert facts["method"] == "dukd"
    assert networks.load(tmp_path / "run" / "student.safetensors").parameters_count == facts["parameters"]
