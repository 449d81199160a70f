"""The settings of a training run, validated: a YAML file, and `a.b=c` on top of it.

Defaults are the paper's (arXiv 2309.14162, section 4.1; DUKD's released EDSR configuration).
"""

from functools import cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dukd_cache.settings.choices import Device, Precision
from dukd_cache.settings.model import (
    ByName,
    CacheAddress,
    Count,
    Decay,
    Location,
    Number,
    Positive,
    PositiveReal,
    Probability,
    Seed,
    Settings,
    Weight,
    one_of,
)
from dukd_cache.settings.roles import Marked, settings_with
from dukd_cache.settings.schema import schema_of
from dukd_cache.system.terminal import tell_once
from dukd_train.objective import METHODS, Loss, Ramp
from dukd_train.scoring.scores import USUAL, MetricName

Method = Annotated[str, one_of(METHODS)]

FREE = "free"
"""A role: does not change what is trained, so a run may go on with another. (A cache is known by its digest.)"""
FIXED = "fixed"
"""A role: what no checkpoint of another fits."""
OF_METHOD = "of the method"
"""A role: a run and the baseline that it is compared with may differ in it."""

_FREE, _OF_METHOD = Marked((FREE,)), Marked((OF_METHOD,))


class Student(Settings):
    """The network to train."""

    architecture: Annotated[str, Marked(decides=("settings",))] = "EDSR"
    """EDSR, or any SR architecture of spandrel: SwinIR, RCAN, SPAN, SAFMN, …"""
    settings: ByName[Any] = Field(default={})
    """Settings of the architecture: `channels` and `blocks` of EDSR, `embed_dim` of SwinIR, …"""
    init: Annotated[Location | None, Marked(called=("pretrain_network_g",))] = None
    """Weights to start from, of the same architecture and settings. Of another scale, all but the upsampler is used."""


class Chances(Settings):
    """Probability of each augmentation of the zoom views. Defaults: the paper's."""

    hflip: Probability = 0.3
    """Swap left and right."""
    vflip: Probability = 0.3
    """Swap top and bottom."""
    transpose: Probability = 0.3
    """Swap rows and columns."""
    invert: Probability = 0.3
    """Colour inversion, x → 1 − x."""
    permute: Probability = 0.0
    """Another order of the colour channels, one of the five. Not in the paper. 0.5 helps if you have few photographs:
    `dukd-cache inspect --teacher` says whether it is safe for your teacher."""


class BaseChances(Chances):
    """Probability of each augmentation of the base view. Defaults: the usual ones of SR training."""

    hflip: Probability = 0.5
    """Swap left and right."""
    vflip: Probability = 0.5
    """Swap top and bottom."""
    transpose: Probability = 0.5
    """Swap rows and columns."""
    invert: Probability = 0.0
    """Colour inversion, x → 1 − x."""


class Augment(Settings):
    """Augmentation of inputs; the cached answers are mapped with them (label consistency)."""

    base: BaseChances = BaseChances()
    """For base."""
    zoom: Annotated[Chances, _OF_METHOD] = Chances()
    """For zoom_in, and for zoom_out unless it has its own."""
    zoom_out: Annotated[Chances | None, _OF_METHOD] = None
    """For zoom_out; by default those of `zoom`. The authors' released code does not augment zoom_out."""

    def of(self, view: str) -> Chances:
        """The chances for records of `view`."""
        return {"base": self.base, "zoom_out": self.zoom_out}.get(view) or self.zoom


class Eco(Ramp):
    """ECO: training on `base` starts with pairs that the teacher made. While α goes from `start` to `end`, the input is
    lerp(↓T(x), x, α) and the truth lerp(T(x), y, α), where ↓ is bicubic ([how](method.md#eco))."""

    start: Probability = 0.0
    """α before the first step. 0: only the teacher's pairs."""
    end: Probability = 1.0
    """α after `steps` steps. 1: only the real pairs."""
    steps: Count = 0
    """Number of steps over which α rises. 0: no ECO."""
    answer: str = "teacher"
    """T(x): the name of an answer in the cache, or `mean`, of all. `teacher` is the only answer, or what `target` says;
    with `target=agreement` it is the mean."""


class Data(Settings):
    """Where records are kept during training, which affects only the speed, and their order."""

    resident: Annotated[Literal["auto", "device", "memory", "no"], _FREE] = "auto"
    """Where decoded records are kept. device: GPU memory. memory: main memory, one copy for all processes of a machine.
    no: nowhere, so they are read again for every step. auto: the first of these in which they fit."""
    memory_limit: Annotated[PositiveReal | None, _FREE] = None
    """GB (10⁹ bytes) that decoded records may take. Default: half of what is free."""
    workers: Annotated[Count | None, _FREE] = None
    """Worker processes that decode records if they are not resident. Default: one per core. 0: none."""
    shuffle: Literal["records", "shards"] = "records"
    """What is shuffled in each epoch. shards: the order of the shards, and the records of a few shards at a time, so
    that a cache in a store is fetched shard by shard."""
    shuffle_window: Positive = 16
    """For `shards`: how many shards of each view are mixed at a time."""


class Sampling(Settings):
    """Which records to leave out, or to train with less often, by a column of the cache."""

    by: str = "bicubic_psnr"
    """The column: bicubic_psnr, gradient_energy, answer_psnr, disagreement ([what they
    are](cache-format.md#the-index-of-a-shard))."""
    drop: Literal["lowest", "highest"] = "highest"
    """Which end: the records with the highest values, or with the lowest. The easiest have the highest bicubic_psnr."""
    share: Probability = 0.0
    """Share of each view to leave out at this end. Records without a value are kept."""
    weight: Annotated[float, Field(ge=1), Number] = 1.0
    """How many times as often the record at the other end is used as the one at this end; those between by their rank
    ([how](method.md#which-records)). 1: all equally often."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.model_fields_set and not self.model_fields_set & {"share", "weight"}:
            raise ValueError("has no effect without `share` or `weight`")
        return self

    @property
    def chooses(self) -> bool:
        """Whether the column is looked at."""
        return self.share > 0 or self.weight > 1

    @property
    def names_column(self) -> bool:
        """Whether the cache must have the column: it is looked at, or somebody said which."""
        return self.chooses or self.by != type(self).model_fields["by"].default


class Optimizer(Settings):
    """How weights are updated."""

    kind: Literal["adam", "adamw"] = "adam"
    """adamw: like adam, but with decoupled weight decay."""
    lr: Annotated[PositiveReal, Marked(called=("learning_rate",))] = 1e-4
    """Learning rate at the start."""
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """Decay rates of the averages of the gradients and of their squares."""
    weight_decay: Weight = 0.0
    """adam: this times the weights is added to the gradients (L2). adamw: the weights shrink by lr times this."""
    clip: Annotated[PositiveReal | None, Marked(called=("grad_clip", "gradient_clip_val"))] = None
    """Largest norm of the gradient; larger ones are clipped. Default: no limit."""


class Discriminator(Settings):
    """The discriminator of terms with `by: gan`. Defaults: Real-ESRGAN's."""

    width: Annotated[Positive, Marked((FIXED,))] = 64
    """Channels at full resolution. 64 make 4.4 M parameters, 16 a sixteenth of that."""
    relative_lr: PositiveReal = 1.0
    """Its learning rate, relative to the student's."""


class Schedule(Settings):
    """How the learning rate changes."""

    kind: Literal["multistep", "cosine", "constant"] = "multistep"
    """multistep: multiplied by `gamma` at each milestone. cosine: falls along half a cosine, down to `floor`. constant:
    does not change."""
    milestones: tuple[Positive, ...] = (100_000, 200_000)
    """For multistep: the milestones, in steps, in increasing order."""
    gamma: Probability = 0.1
    """For multistep: the factor at each milestone."""
    floor: Probability = 0.0
    """For cosine: the last learning rate as a fraction of the first."""
    warmup: Annotated[Count, Marked(called=("warmup_iter",))] = 0
    """Steps over which the learning rate rises linearly from 0, at most all steps of the run."""

    @field_validator("milestones")
    @classmethod
    def _increase(cls, milestones: tuple[int, ...]) -> tuple[int, ...]:
        for before, after in pairwise(milestones):
            if before >= after:
                raise ValueError(f"must increase, got {after} after {before}")
        return milestones


class ImageSet(Settings):
    """A set of images to score on."""

    hr: Location | None = None
    """Folder of HR images. Without it the images of `lr` have no truth, and can only be scored by NIQE."""
    lr: Location | None = None
    """Folder of LR images. Default: made from HR by the benchmarks' bicubic."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.hr is None and self.lr is None:
            raise ValueError("expected hr, a folder of HR images, or lr alone")
        return self


class Validation(Settings):
    """Scores during training."""

    every: Annotated[Count, Marked(called=("val_freq",))] = 0
    """Steps between validations. 0: only at the end."""
    sets: ByName[ImageSet] = Field(default={})
    """Image sets by name."""
    metrics: tuple[MetricName, ...] = USUAL
    """What to compute. `psnr_y` must be included, because the curves show it. `lpips` and `dists` need torchmetrics,
    `niqe` needs [its model](using.md#scores)."""
    best: str | None = None
    """Set and metric that choose `best.safetensors`, like `Set5/psnr_y`. Default: the first set's first metric."""
    tile: Count = 0
    """Side of a tile in LR pixels, if memory is too small for whole images. 0: whole images, as scores are defined."""
    tile_overlap: Count = 32
    """Overlap of the tiles on each side, in LR pixels."""
    self_ensemble: bool = False
    """Score the mean of the outputs for the eight flips and rotations. Takes eight times as long."""


class Logging(Settings):
    """Additional loggers."""

    tensorboard: bool = False
    """Write event files for TensorBoard, in the folder `tensorboard` of the run."""
    dvclive: bool = False
    """Write DVCLive's files for `dvc exp` and `dvc plots`, in the folder `dvclive` of the run. Needs dvclive."""


class TrainConfig(Settings):
    """All settings of a run."""

    presets: ClassVar = "dukd_train.presets"

    method: Annotated[Method, _OF_METHOD] = "dukd"
    """scratch: learn from the truth only. kd: from truth and teacher, on base. dukd: also on the zoom views. dukd-gan:
    also with a discriminator, for a student that was trained without one ([how](method.md#a-discriminator))."""
    cache: Annotated[CacheAddress, Marked((FREE, OF_METHOD))]
    """Folder of a finished cache, or its address: s3://bucket/cache."""
    scale: Literal[2, 3, 4] | None = None
    """SR factor. It follows from the cache; if you give it, a cache of another scale is refused."""
    student: Annotated[Student, Marked((FIXED,))] = Student()
    """The network to train."""
    steps: Annotated[Positive, Marked(called=("max_steps", "total_iter"))] = 250_000
    """Number of optimizer steps in all."""
    batch: Annotated[Positive, Marked(called=("batch_size", "batch_size_per_gpu"))] = 16
    """Records of each view per step."""
    patch: Annotated[Positive | None, Marked(called=("gt_size", "lq_size", "patch_size"))] = None
    """Side of a training patch in LR pixels, cut at random from the cached patch. Default: the whole cached patch."""
    loss: Annotated[Loss, _OF_METHOD] = Loss({})
    """The terms of the loss."""
    target: Annotated[str | None, _OF_METHOD] = None
    """What `teacher` means in the loss if the cache has several answers: the name of one, `mean` of all, or
    `agreement`, the mean with less weight where they disagree ([how](method.md#several-teachers))."""
    eco: Annotated[Eco, _OF_METHOD] = Eco()
    """ECO: training on `base` starts with pairs that the teacher made."""
    augment: Augment = Augment()
    """How often inputs are flipped, transposed and inverted."""
    sampling: Annotated[Sampling, _OF_METHOD] = Sampling()
    """Which records to leave out, or to train with less often, by a column of the cache."""
    data: Data = Data()
    """Where records are kept during training, and their order."""
    optimizer: Optimizer = Optimizer()
    """The optimizer."""
    schedule: Schedule = Schedule()
    """The learning rate schedule."""
    discriminator: Annotated[Discriminator, _OF_METHOD] = Discriminator()
    """The discriminator of terms with `by: gan`."""
    ema: Annotated[Probability, Marked(called=("ema_decay",))] = 0.999
    """Decay of the averaged weights (EMA). These are scored and saved."""
    precision: Precision = "fp32"
    """bf16, fp16: mixed precision (autocast); weights and sums stay float32."""
    compile: Annotated[bool, _FREE] = False
    """Compile the student with torch.compile: a minute at the start, then faster steps. Needs a C++ compiler."""
    cuda_graph: Annotated[bool, _FREE] = True
    """On a GPU, record a step once as a CUDA graph and replay it, which makes small students several times as fast.
    Switch it off for a student whose Python code computes something else from step to step."""
    device: Annotated[Device, _FREE] = "auto"
    """auto: a GPU if there is one."""
    seed: Annotated[Seed, Marked((OF_METHOD,), called=("manual_seed",))] = 0
    """Seed of initial weights, order, crops and augmentation."""
    log_every: Annotated[Positive, Marked((FREE,), called=("print_freq",))] = 100
    """Steps between rows of `curve.csv`."""
    checkpoint_every: Annotated[Positive, Marked((FREE,), called=("save_checkpoint_freq",))] = 1000
    """Steps between checkpoints. A killed run resumes from the last one."""
    validation: Annotated[Validation, _FREE] = Validation()
    """Scores during training."""
    logging: Annotated[Logging, _FREE] = Logging()
    """Additional loggers."""

    @field_validator("schedule")
    @classmethod
    def _warmup_ends(cls, schedule: Schedule, before: ValidationInfo) -> Schedule:
        steps = before.data.get("steps", schedule.warmup)
        if schedule.warmup <= steps:
            return schedule
        tell_once(f"schedule.warmup: {schedule.warmup} is more than the {steps} steps of the run: all of them warm up")
        return schedule.model_copy(update={"warmup": steps})


@cache
def with_role(role: str) -> tuple[str, ...]:
    """Dotted paths of the settings, and groups of them, that are marked so: FREE, FIXED, OF_METHOD."""
    return settings_with(schema_of(TrainConfig), role)
