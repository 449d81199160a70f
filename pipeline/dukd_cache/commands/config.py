"""The settings of a cache, validated: a YAML file, `--set a.b=c` on top of it, and the options of `build` and `plan`.

The options and their help, docs/settings.md and the JSON schema are made from these fields.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from dukd_cache.build.columns import COLUMNS
from dukd_cache.format.codecs import CODECS
from dukd_cache.format.record import Count, Dtype, Side
from dukd_cache.pictures.lr_folder import LrFolder
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import MAX_SHARD_MB, Device, Precision, Store
from dukd_cache.settings.model import CacheAddress, Location, Number, Settings, one_of
from dukd_cache.settings.roles import Marked

ColumnName = Annotated[str, one_of(COLUMNS)]
ViewName = Annotated[str, one_of(VIEWS)]
CodecName = Annotated[str, one_of(dict.fromkeys(name for codecs in CODECS.values() for name in codecs))]


def _as_list(given: object) -> object:
    return [given] if isinstance(given, str | Path) else given


_A_PATH = {"type": "string", "format": "path"}
_PATHS = WithJsonSchema({"anyOf": [_A_PATH, {"type": "array", "items": _A_PATH}]})
Locations = Annotated[tuple[Location, ...], BeforeValidator(_as_list), _PATHS]
Addresses = Annotated[tuple[CacheAddress, ...], BeforeValidator(_as_list), _PATHS]


class ViewConfig(Settings):
    """What is cut from each image for a view. A number alone is `crops`."""

    short: ClassVar = "crops"

    crops: Annotated[Count, Number] | None = None
    """Records an image; 0 leaves the view out. Default: 8 of base, as many of the others (with a teacher)."""
    patch: Annotated[Side, Number] | None = None
    """Side of an input. Default: `patch`; of zoom_out `patch` // scale, or the next whole windows of the teacher."""


class CacheConfig(Settings):
    """All settings of a cache."""

    hr: Annotated[Locations, Field(min_length=1), Marked(called=("dataroot_gt", "images"))]
    """Folder of HR images with its subfolders, or a text file of their paths. Can be several."""
    teacher: Annotated[Location | None, Marked(called=("weights", "model_path", "pretrain_network_g"))] = None
    """Weights of the teacher: a network that spandrel knows, or EDSR. Without: LR/HR pairs, to train from scratch."""
    scale: Annotated[int, Field(ge=2, le=4), Number] | None = None
    """SR factor. It follows from the teacher; must be given without one."""
    lr: Annotated[Locations, Marked(called=("dataroot_lq",))] = ()
    """Folder of LR images; one for each of `hr`, or for all. Default: made by MATLAB's bicubic."""
    lr_template: str = "{stem}x{scale}"
    """Name of an LR file."""
    patch: Annotated[Side | None, Number, Marked(called=("gt_size", "lq_size", "patch_size"))] = None
    """Side of an LR patch, in pixels. Default: 48, or the next multiple of the teacher's window."""
    views: dict[ViewName, ViewConfig] = Field(default={})
    """What is cut from each image, by view."""
    store: Store = "webdataset"
    """Tar files, or arrays that any Zarr 3 reader opens."""
    codec: CodecName | None = None
    """Lossless compression: webp, png or raw in webdataset, blosc or raw in zarr. Default: the first."""
    dtype: Dtype = "uint8"
    """Of the stored answers; float16 takes five times the room, float32 ten times."""
    precision: Precision = "fp32"
    """The teacher computes in this."""
    device: Device = "auto"
    """auto: the GPU where there is one."""
    compile: bool = False
    """torch.compile the teacher: attention gains most. Needs a C++ compiler."""
    batch_size: Annotated[int, Field(ge=1, le=4096), Number, Marked(called=("batch",))] = 16
    """Patches the teacher answers at once."""
    shard_size: Annotated[int, Field(ge=1, le=MAX_SHARD_MB), Number] = 128
    """MB of pixels a shard, before compression."""
    columns: tuple[ColumnName, ...] = ()
    """Numbers to keep of each record. difficulty: how far bicubic is from the truth, or from the answer."""
    seed: Annotated[int, Number, Marked(called=("manual_seed",))] = 0
    """Moves every crop."""
    on_bad_image: Literal["fail", "skip"] = "fail"
    """skip: leave out what cannot be used, and list it in the manifest; decodes all images first."""
    reuse: Addresses = ()
    """Another cache, finished or not, whose answers may serve. Can be several."""
    mixed_workers: bool = False
    """Let answers be computed on several kinds of machines: they may then differ by a level from a build on one."""

    @field_validator("lr_template")
    @classmethod
    def _can_be_filled_in(cls, template: str) -> str:
        return LrFolder(Path(), template).template

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
