"""The settings of a cache, validated: a YAML file, `--set a.b=c` on top of it, and the options of `build` and `plan`.

The options and their help, docs/settings.md and the JSON schema are made from these fields.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from dukd_cache.build.columns import COLUMNS
from dukd_cache.commands.answer_names import by_name, refuse_no_names
from dukd_cache.format.codecs import CODECS
from dukd_cache.format.record import Count, Dtype, Margin, Side
from dukd_cache.pictures.degradation.presets import Steps
from dukd_cache.pictures.lr_folder import TEMPLATE, LrFolder
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import MAX_SHARD_MB, Asked, Device, Precision, SelfEnsemble, Store
from dukd_cache.settings.model import ByName, CacheAddress, Location, NetworkFile, Number, Settings, WholeNumber, one_of
from dukd_cache.settings.roles import Marked
from dukd_cache.settings.takes import Takes
from dukd_cache.system.errors import unknown_name

IMAGES, TEACHER, STORE = (Marked(group=name) for name in ("Images and views", "Teacher", "Store"))

ColumnName = Annotated[str, one_of(COLUMNS)]
ViewName = Annotated[str, one_of(VIEWS)]
CodecName = Annotated[str, one_of(dict.fromkeys(name for codecs in CODECS.values() for name in codecs))]


def _as_list(given: object) -> object:
    return [given] if isinstance(given, str | Path) else given


_A_PATH = {"type": "string", "format": "path"}
_PATHS = WithJsonSchema({"anyOf": [_A_PATH, {"type": "array", "items": _A_PATH}]})
Locations = Annotated[tuple[Location, ...], BeforeValidator(_as_list), _PATHS]
Addresses = Annotated[tuple[CacheAddress, ...], BeforeValidator(_as_list), _PATHS]
_BY_NAME = {"type": "object", "additionalProperties": _A_PATH}
_ASKED = {"type": "string", "enum": [*get_args(Asked)]}
_ONE_OR_BOTH = WithJsonSchema({"anyOf": [_ASKED, {"type": "array", "items": _ASKED}]})
_TEACHERS = WithJsonSchema({"anyOf": [_A_PATH, _BY_NAME, {"type": "array", "items": _A_PATH}, {"type": "null"}]})
TeacherFiles = Annotated[dict[str, NetworkFile], BeforeValidator(by_name), AfterValidator(refuse_no_names), _TEACHERS]


class ViewConfig(Settings):
    """What is cut from each image for a view. A single number means `crops`."""

    short: ClassVar = "crops"

    crops: Annotated[Count, Number] | None = None
    """Records per image; 0: none. Default: 8.

    By default the zoom views have as many as base, and none without a teacher.
    """
    patch: Annotated[Side, Number] | None = None
    """Side of an input, in pixels.

    Default: `patch`; for zoom_out `patch` // scale, rounded up to whole windows of all teachers.
    """


class CacheConfig(Settings):
    """All settings of a cache."""

    presets: ClassVar = "dukd_cache.presets"

    hr: Annotated[Locations, Field(min_length=1), IMAGES.named("dataroot_gt", "images")]
    """Folder of HR images.

    Or a text file with their paths. You can give several.
    """
    lr: Annotated[Locations, IMAGES.named("dataroot_lq")] = ()
    """Folder of LR images. Default: bicubic.

    One for each of `hr`, or one for all. Without it LR images are made by MATLAB's bicubic, as in the benchmarks.
    """
    lr_template: Annotated[str, IMAGES] = TEMPLATE
    """LR file name.

    Made of `{stem}`, that of the HR file, and `{scale}`. By default `{stem}` alone is found, too.
    """
    degradation: Annotated[Steps, replace(IMAGES, hidden=True)] = Field(default="bicubic", validate_default=True)
    """How LR is made from HR.

    bicubic: as MATLAB does it. light, real: with blur, noise and compression, drawn at random for each crop
    ([how](method.md#degradations)). Or a list of your own steps. The values that were drawn are kept as columns.
    """
    on_bad_image: Annotated[Literal["fail", "skip"], IMAGES] = "fail"
    """fail, or skip the image.

    What to do about an image that cannot be used. skip: all images are decoded first; those that are left out are
    listed in the manifest.
    """
    teacher: Annotated[TeacherFiles, TEACHER.named("weights", "model_path", "pretrain_network_g")] = Field(default={})
    """Weights file. Without: LR/HR pairs.

    Of EDSR or any network that spandrel knows; or TorchScript, a `.pt2` program, an ONNX model, or your own code as
    `python:FILE.py:FUNCTION` ([all of them](weights.md#any-other-teacher)).
    You can give several, also with names for their answers: `{a: A.pth, b: B.pth}`. Without names, answers are named
    after the files; those of a single teacher are called `teacher`.
    A cache without a teacher has pairs, to train students from scratch.
    """
    teacher_takes: ByName[Takes] = Field(default={})
    """For teachers with another value range or channel order, by the name of their answers."""
    answers_of: Annotated[
        tuple[Asked, ...], Field(min_length=1), BeforeValidator(_as_list), _ONE_OR_BOTH, replace(TEACHER, hidden=True)
    ] = ("input",)
    """What the teacher's inputs are.

    input: the degraded input that the student gets. clean: the same before `degradation`, made smaller by bicubic; it
    is stored beside the input, also without a teacher, for `dukd-cache answer`. Both: two answers of each teacher,
    NAME and NAME_clean ([which to choose](method.md#answers-to-clean-inputs)).
    """
    scale: Annotated[int | None, Field(ge=2, le=4), Number, TEACHER] = None
    """SR factor. Default: the teacher's.

    Must be given if there is no teacher. With half of the teacher's scale, its answers are made half as large by
    bicubic.
    """
    precision: Annotated[Precision, TEACHER] = "fp32"
    """Teacher's precision."""
    device: Annotated[Device, TEACHER] = "auto"
    """Where it runs.

    auto: on a GPU if there is one.
    """
    compile: Annotated[bool, TEACHER] = False
    """Use torch.compile.

    Needs a C++ compiler. Networks with attention gain most.
    """
    batch_size: Annotated[int, Field(ge=1, le=4096), Number, TEACHER.named("batch")] = 16
    """Patches per batch."""
    self_ensemble: Annotated[SelfEnsemble, WholeNumber, Number, TEACHER] = 1
    """Outputs to average.

    8: the outputs for the eight flips and rotations of an input, turned back. 16: also for each of these with inverted
    colours. The teacher runs that many times per record.
    """
    context: Annotated[Margin, Number, TEACHER] = 0
    """Pixels around the crop.

    The teacher sees this many more pixels of the image on each side, mirrored at its edge. The student does not.
    """
    patch: Annotated[Side | None, Number, IMAGES.named("gt_size", "lq_size", "patch_size")] = None
    """Side of an LR patch. Default: 48.

    In pixels. By default it is rounded up so that, with `context`, it makes whole windows of all teachers.
    """
    views: Annotated[dict[ViewName, ViewConfig], IMAGES] = Field(default={})
    """What is cut from each image, by view."""
    seed: Annotated[int, Number, IMAGES.named("manual_seed")] = 0
    """Seed of the crop positions."""
    store: Annotated[Store, STORE] = "webdataset"
    """Tar files or Zarr arrays.

    webdataset reads the tar files, any Zarr 3 reader the arrays.
    """
    codec: Annotated[CodecName | None, STORE] = None
    """Default: webp; zarr: blosc.

    Compression, always lossless: webp, png or raw for webdataset, blosc or raw for zarr.
    """
    dtype: Annotated[Dtype, STORE] = "uint8"
    """Answer type.

    float16 takes five times the space, float32 ten times.
    """
    shard_size: Annotated[int, Field(ge=1, le=MAX_SHARD_MB), Number, STORE] = 128
    """MB per shard.

    Of pixels, before compression.
    """
    columns: Annotated[tuple[ColumnName, ...], STORE] = ()
    """Extra numbers per record.

    answer_psnr, bicubic_psnr: PSNR in dB of the answer (the mean of several), and of the bicubically enlarged input, to
    the truth; gradient_energy: how much detail the truth has; disagreement: how much several answers differ.
    """
    reuse: Annotated[Addresses, STORE] = ()
    """Cache to take answers from.

    Finished or not. You can give several.
    """
    mixed_workers: Annotated[bool, STORE] = False
    """Allow different hardware.

    Some answers may then differ by one level from those of a build on one machine.
    """

    @field_validator("lr_template")
    @classmethod
    def _can_be_filled_in(cls, template: str) -> str:
        return LrFolder(Path(), template).template

    @model_validator(mode="after")
    def _takes_are_teachers(self) -> Self:
        for name in self.teacher_takes.keys() - self.teacher.keys():
            raise ValueError(f"`teacher_takes`: {unknown_name('teacher', name, self.teacher)}")
        return self

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        for name, other in {"lr_template": "lr", "self_ensemble": "teacher", "context": "teacher"}.items():
            if getattr(self, name) != type(self).model_fields[name].default and not getattr(self, other):
                raise ValueError(f"`{name}` means nothing without `{other}`: give that, too")
        if self.degradation and self.lr:
            raise ValueError("`lr` names LR images that are made: leave it out, or `degradation`")
        if "clean" in self.answers_of and not self.degradation:
            raise ValueError("`answers_of`: inputs are clean unless they are degraded: leave it out")
        if len({*self.answers_of}) < len(self.answers_of):
            raise ValueError("`answers_of`: one is given twice")
        return self

    @model_validator(mode="after")
    def _answers_have_names(self) -> Self:
        refuse_no_names({name: self.teacher[of] for name, (of, _) in self.answers.items()})
        if len(self.answers) < len(self.teacher) * len(self.answers_of):
            raise ValueError("`answers_of`: two answers would have one name: name the teachers otherwise")
        return self

    @property
    def answers(self) -> dict[str, tuple[str, Asked]]:
        """Names of answers: whose, and of what."""
        return {
            f"{name}_clean" if of == "clean" and len(self.answers_of) > 1 else name: (name, of)
            for name in self.teacher
            for of in self.answers_of
        }

    @property
    def lr_folders(self) -> tuple[LrFolder, ...]:
        """Where LR images lie; empty where they are made."""
        return tuple(LrFolder(root, self.lr_template) for root in self.lr)

    def view(self, name: str) -> ViewConfig:
        """What is asked of a view."""
        return self.views.get(name, ViewConfig())

    def crops(self, name: str) -> int:
        """Records of a view an image."""
        asked = self.view(name).crops
        if asked is not None:
            return asked
        if VIEWS[name].upcycled:
            return self.crops("base") if self.teacher else 0
        return VIEWS[name].crops
