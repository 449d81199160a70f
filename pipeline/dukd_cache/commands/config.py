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
from dukd_cache.pictures.lr_folder import LrFolder
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
    """What is cut from each image for a view. A number alone is `crops`."""

    short: ClassVar = "crops"

    crops: Annotated[Count, Number] | None = None
    """Records an image; 0: none. Default: 8.

    Of zoom views as many as of base, and none without a teacher.
    """
    patch: Annotated[Side, Number] | None = None
    """Side of an input, in pixels.

    Default: `patch`; of zoom_out `patch` // scale, or the next whole windows of all teachers.
    """


class CacheConfig(Settings):
    """All settings of a cache."""

    presets: ClassVar = "dukd_cache.presets"

    hr: Annotated[Locations, Field(min_length=1), IMAGES.named("dataroot_gt", "images")]
    """Folder of HR images.

    Or a text file of their paths. Can be several.
    """
    lr: Annotated[Locations, IMAGES.named("dataroot_lq")] = ()
    """Folder of LR images. Default: bicubic.

    One for each of `hr`, or for all. Bicubic is MATLAB's, with which benchmarks are made.
    """
    lr_template: Annotated[str, IMAGES] = "{stem}x{scale}"
    """LR file's name."""
    degradation: Annotated[Steps, replace(IMAGES, hidden=True)] = Field(default="bicubic", validate_default=True)
    """How LR is made of HR.

    bicubic: MATLAB's. light, real: blur, noise and compression, drawn for each crop (docs/method.md); or a list of
    steps. What was drawn is kept as columns.
    """
    on_bad_image: Annotated[Literal["fail", "skip"], IMAGES] = "fail"
    """skip: leave them out.

    They are listed in the manifest; all images are decoded first.
    """
    teacher: Annotated[TeacherFiles, TEACHER.named("weights", "model_path", "pretrain_network_g")] = Field(default={})
    """Its weights. Without: LR/HR pairs.

    A network that spandrel knows, or EDSR; TorchScript, a `.pt2` program, an ONNX model; `python:FILE.py:FUNCTION`,
    your own code ([all of them](weights.md#any-other-teacher)).
    Can be several, also by the names of their answers: `{a: A.pth, b: B.pth}`; without names they are called after
    their files, those of an only one `teacher`.
    From pairs, students are trained from scratch.
    """
    teacher_takes: ByName[Takes] = Field(default={})
    """What a teacher takes otherwise than others do, by the name of its answers: `teacher_takes.teacher.values=255`."""
    answers_of: Annotated[
        tuple[Asked, ...], Field(min_length=1), BeforeValidator(_as_list), _ONE_OR_BOTH, replace(TEACHER, hidden=True)
    ] = ("input",)
    """It is asked about this.

    input: the degraded one, as it would be later. clean: what `degradation` was done to, made smaller by bicubic; it
    is kept beside the input, without a teacher too, for `dukd-cache answer`. Both: two answers of each teacher, NAME
    and NAME_clean ([which](method.md#answers-to-clean-inputs)).
    """
    scale: Annotated[int | None, Field(ge=2, le=4), Number, TEACHER] = None
    """SR factor; that of the teacher.

    Must be given without one. Half of a teacher's: its answers are made half as large by bicubic.
    """
    precision: Annotated[Precision, TEACHER] = "fp32"
    """It computes in this."""
    device: Annotated[Device, TEACHER] = "auto"
    """auto: a GPU if any."""
    compile: Annotated[bool, TEACHER] = False
    """By torch.compile.

    Needs a C++ compiler. Attention gains most.
    """
    batch_size: Annotated[int, Field(ge=1, le=4096), Number, TEACHER.named("batch")] = 16
    """Patches asked at once."""
    self_ensemble: Annotated[SelfEnsemble, WholeNumber, Number, TEACHER] = 1
    """Mean of answers.

    Of 8: to the flips and turns of an input, turned back; 16: to each of them with its colours inverted, too. The
    teacher is called so many times a record.
    """
    context: Annotated[Margin, Number, TEACHER] = 0
    """Pixels seen around.

    On each side of an input, as they lie there in the image, mirrored at its edge. Only the teacher sees them.
    """
    patch: Annotated[Side | None, Number, IMAGES.named("gt_size", "lq_size", "patch_size")] = None
    """Side of an LR patch. Default: 48.

    In pixels. Where teachers have windows, the next that makes whole ones of all of them, with `context`.
    """
    views: Annotated[dict[ViewName, ViewConfig], IMAGES] = Field(default={})
    """What is cut from each image, by view."""
    seed: Annotated[int, Number, IMAGES.named("manual_seed")] = 0
    """Moves every crop."""
    store: Annotated[Store, STORE] = "webdataset"
    """Tars, or arrays.

    Any Zarr 3 reader opens these.
    """
    codec: Annotated[CodecName | None, STORE] = None
    """Default: webp; zarr: blosc.

    Lossless: webp, png or raw in webdataset, blosc or raw in zarr.
    """
    dtype: Annotated[Dtype, STORE] = "uint8"
    """Of answers.

    float16 takes five times the room, float32 ten times.
    """
    shard_size: Annotated[int, Field(ge=1, le=MAX_SHARD_MB), Number, STORE] = 128
    """MB of pixels.

    Of a shard, before compression.
    """
    columns: Annotated[tuple[ColumnName, ...], STORE] = ()
    """More about each record.

    answer_psnr, bicubic_psnr: dB to the truth, of the answer and of the input enlarged; gradient_energy: how much
    neighbours of the truth differ; disagreement: how far several answers lie apart.
    """
    reuse: Annotated[Addresses, STORE] = ()
    """Cache to take answers from.

    Finished or not; can be several.
    """
    mixed_workers: Annotated[bool, STORE] = False
    """Of several kinds may work.

    Their answers may then differ by a level from a build on one.
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
