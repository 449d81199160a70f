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
    """The architecture's own: `channels` and `blocks` of EDSR, `embed_dim` of SwinIR, …"""
    init: Annotated[Location | None, Marked(called=("pretrain_network_g",))] = None
    """Weights to start from, of this architecture and settings; of those of another scale, all but the upsampler's."""


class Chances(Settings):
    """How often each generator is drawn for the zoom views. Defaults: the paper's."""

    hflip: Probability = 0.3
    """Left and right."""
    vflip: Probability = 0.3
    """Top and bottom."""
    transpose: Probability = 0.3
    """Rows and columns."""
    invert: Probability = 0.3
    """Colour inversion, x → 1 − x."""
    permute: Probability = 0.0
    """Another order of the colour channels, any of the five. Not the paper's: ask the teacher first what it makes of
    them (`dukd-cache inspect --teacher`)."""


class BaseChances(Chances):
    """How often each generator is drawn for the base view. Defaults: the usual ones of SR training."""

    hflip: Probability = 0.5
    """Left and right."""
    vflip: Probability = 0.5
    """Top and bottom."""
    transpose: Probability = 0.5
    """Rows and columns."""
    invert: Probability = 0.0
    """Colour inversion, x → 1 − x."""


class Augment(Settings):
    """Augmentation of inputs; the cached answers are mapped with them (label consistency)."""

    base: BaseChances = BaseChances()
    """Of base."""
    zoom: Annotated[Chances, _OF_METHOD] = Chances()
    """Of zoom_in, and of zoom_out too unless that has its own."""
    zoom_out: Annotated[Chances | None, _OF_METHOD] = None
    """Of zoom_out; those of `zoom` if not given. The authors' released code does not augment it."""

    def of(self, view: str) -> Chances:
        """The chances for records of `view`."""
        return {"base": self.base, "zoom_out": self.zoom_out}.get(view) or self.zoom


class Eco(Ramp):
    """ECO: `base` begins with pairs that the teacher made. With α going from `start` to `end`, the input is
    lerp(↓T(x), x, α), the truth lerp(T(x), y, α); ↓ is bicubic ([how](method.md#eco))."""

    start: Probability = 0.0
    """α before the first step. 0: the teacher's pairs only."""
    end: Probability = 1.0
    """α after `steps` steps. 1: the real pairs only."""
    steps: Count = 0
    """Steps in which α rises. 0: no ECO."""
    answer: str = "teacher"
    """T(x), an answer of the cache by its name; `teacher` is an only one, and the one that `target` names, too."""


class Data(Settings):
    """Where records are kept while a student trains, which changes its speed and never its batches; their order."""

    resident: Annotated[Literal["auto", "device", "memory", "no"], _FREE] = "auto"
    """Decoded records in the GPU's memory, in main memory (one copy for all processes of a machine), or nowhere: then
    they are read again and again. auto: the first of these in which they fit."""
    memory_limit: Annotated[PositiveReal | None, _FREE] = None
    """GB (10⁹ bytes) that decoded records may take; half of what is free if not given."""
    workers: Annotated[Count | None, _FREE] = None
    """Processes that decode what is not resident, of each training process; one a core if not given. 0: none."""
    shuffle: Literal["records", "shards"] = "records"
    """What every epoch is a new order of. shards: of all shards, the records of a few at a time mixed, so that a cache
    that is streamed from a store is fetched shard after shard."""
    shuffle_window: Positive = 16
    """shards: how many are mixed at a time, of each view."""


class Sampling(Settings):
    """Records that are left out, by a number that the cache has of each."""

    by: str = "bicubic_psnr"
    """A column of the cache: bicubic_psnr, gradient_energy, answer_psnr, disagreement ([what they
    are](cache-format.md#the-index-of-a-shard))."""
    drop: Literal["lowest", "highest"] = "highest"
    """The records with the highest numbers, or with the lowest. The easiest have the highest bicubic_psnr."""
    share: Probability = 0.0
    """How much of every view is left out. Records without a number stay."""


class Optimizer(Settings):
    """How gradients become steps."""

    kind: Literal["adam", "adamw"] = "adam"
    """adam, or adamw: its weight decay is not scaled by the gradients' moments."""
    lr: Annotated[PositiveReal, Marked(called=("learning_rate",))] = 1e-4
    """Learning rate at the start."""
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """Decay of the averaged gradients and of their squares."""
    weight_decay: Weight = 0.0
    """adam: this factor times the weights is added to the gradients (L2). adamw: the weights shrink by lr times it."""
    clip: Annotated[PositiveReal | None, Marked(called=("grad_clip", "gradient_clip_val"))] = None
    """Largest norm of all gradients together; none by default."""


class Discriminator(Settings):
    """What tells a student's answers from what they are compared with, for terms by gan. Defaults: Real-ESRGAN's."""

    width: Annotated[Positive, Marked((FIXED,))] = 64
    """Channels at full size; 64 are 4.4 M parameters, 16 a sixteenth of that."""
    relative_lr: PositiveReal = 1.0
    """Its learning rate, in those of the student's, with which it falls."""


class Schedule(Settings):
    """How the learning rate falls."""

    kind: Literal["multistep", "cosine", "constant"] = "multistep"
    """multistep: in steps. cosine: along half a cosine, down to `floor`. constant: not at all."""
    milestones: tuple[Positive, ...] = (100_000, 200_000)
    """multistep: the steps at which the rate is multiplied by `gamma`, increasing."""
    gamma: Probability = 0.1
    """multistep: factor on the rate at each milestone."""
    floor: Probability = 0.0
    """cosine: the last rate as a fraction of the first."""
    warmup: Annotated[Count, Marked(called=("warmup_iter",))] = 0
    """Steps over which the rate rises linearly from nothing; all of a run that has fewer."""

    @field_validator("milestones")
    @classmethod
    def _increase(cls, milestones: tuple[int, ...]) -> tuple[int, ...]:
        for before, after in pairwise(milestones):
            if before >= after:
                raise ValueError(f"must increase, got {after} after {before}")
        return milestones


class ImageSet(Settings):
    """A benchmark."""

    hr: Location | None = None
    """Folder of HR images. Without it the images of `lr` have no truth, and NIQE is their only score."""
    lr: Location | None = None
    """Folder of LR images; made by the benchmarks' bicubic if not given."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.hr is None and self.lr is None:
            raise ValueError("expected hr, a folder of HR images, or lr alone")
        return self


class Validation(Settings):
    """Scores during training."""

    every: Annotated[Count, Marked(called=("val_freq",))] = 0
    """Steps between validations; 0: only at the end."""
    sets: ByName[ImageSet] = Field(default={})
    """Image sets by name."""
    metrics: tuple[MetricName, ...] = USUAL
    """What is computed. `psnr_y` must be among them, as curves show it; `lpips` and `dists` need torchmetrics, `niqe`
    [its model](using.md#scores)."""
    best: str | None = None
    """Set and metric by which `best.safetensors` is kept, like `Set5/psnr_y`. Default: the first set's first metric."""
    tile: Count = 0
    """Side of a tile in LR pixels, where memory does not hold whole images; 0: whole images, as scores are defined."""
    tile_overlap: Count = 32
    """LR pixels that a tile sees of its neighbours on each side."""
    self_ensemble: bool = False
    """Score the mean of the answers to eight flips and turns: eight times as slow."""


class Logging(Settings):
    """Who is told of a run's course, beside its own files and the display."""

    tensorboard: bool = False
    """Event files for TensorBoard, in the run folder's `tensorboard`."""
    dvclive: bool = False
    """Files of DVCLive for `dvc exp` and `dvc plots`, in the run folder's `dvclive`; needs dvclive."""


class TrainConfig(Settings):
    """All settings of a run."""

    presets: ClassVar = "dukd_train.presets"

    method: Annotated[Method, _OF_METHOD] = "dukd"
    """scratch: truth only. kd: truth and teacher on base. dukd: both, and the zoom views. dukd-gan: the same and a
    discriminator, for a student that was trained without ([how](method.md#a-discriminator))."""
    cache: Annotated[CacheAddress, Marked((FREE, OF_METHOD))]
    """Folder of a finished cache, or its address: s3://bucket/cache."""
    scale: Literal[2, 3, 4] | None = None
    """SR factor. It follows from the cache; where it is given, a cache of another one is refused."""
    student: Annotated[Student, Marked((FIXED,))] = Student()
    """The network to train."""
    steps: Annotated[Positive, Marked(called=("max_steps", "total_iter"))] = 250_000
    """Optimizer steps of the whole run."""
    batch: Annotated[Positive, Marked(called=("batch_size", "batch_size_per_gpu"))] = 16
    """Records of each view a step."""
    patch: Annotated[Positive | None, Marked(called=("gt_size", "lq_size", "patch_size"))] = None
    """Side of a training patch cut at random out of the cached one; the whole of it if not given."""
    loss: Annotated[Loss, _OF_METHOD] = Loss({})
    """What the student is compared with."""
    target: Annotated[str | None, _OF_METHOD] = None
    """What the methods' terms take for `teacher` where a cache has several: an answer by its name, `mean` of all, or
    `agreement`: the mean, counted less where they disagree ([how](method.md#several-teachers))."""
    eco: Annotated[Eco, _OF_METHOD] = Eco()
    """ECO: `base` begins with pairs that the teacher made."""
    augment: Augment = Augment()
    """How often inputs are flipped, transposed and inverted."""
    sampling: Annotated[Sampling, _OF_METHOD] = Sampling()
    """Records that are left out, by a number that the cache has of each."""
    data: Data = Data()
    """Where records are kept while the student trains, and their order."""
    optimizer: Optimizer = Optimizer()
    """How gradients become steps."""
    schedule: Schedule = Schedule()
    """How the learning rate falls."""
    discriminator: Annotated[Discriminator, _OF_METHOD] = Discriminator()
    """What tells a student's answers from what they are compared with, for terms by gan."""
    ema: Annotated[Probability, Marked(called=("ema_decay",))] = 0.999
    """Decay of the averaged weights, which are what is scored and saved."""
    precision: Precision = "fp32"
    """bf16, fp16: the student computes in it where PyTorch deems it safe; weights and sums stay float32."""
    compile: Annotated[bool, _FREE] = False
    """Compile the student with torch.compile: a minute at the start, faster steps then. Needs a C++ compiler."""
    cuda_graph: Annotated[bool, _FREE] = True
    """On a GPU, record a step once and replay it, which makes small students several times as fast. Not for a student
    that decides in Python what it computes, from step to step."""
    device: Annotated[Device, _FREE] = "auto"
    """auto: a GPU if there is one."""
    seed: Annotated[Seed, Marked((OF_METHOD,), called=("manual_seed",))] = 0
    """Of weights, order, crops and augmentation."""
    log_every: Annotated[Positive, Marked((FREE,), called=("print_freq",))] = 100
    """Steps between rows of `curve.csv`."""
    checkpoint_every: Annotated[Positive, Marked((FREE,), called=("save_checkpoint_freq",))] = 1000
    """Steps between checkpoints; a run that was killed goes on from the last one."""
    validation: Annotated[Validation, _FREE] = Validation()
    """Scores during training."""
    logging: Annotated[Logging, _FREE] = Logging()
    """Trackers of experiments."""

    @field_validator("schedule")
    @classmethod
    def _warmup_ends(cls, schedule: Schedule, before: ValidationInfo) -> Schedule:
        steps = before.data.get("steps", schedule.warmup)
        if schedule.warmup <= steps:
            return schedule
        tell_once(f"schedule.warmup: all {steps} steps of the run, not {schedule.warmup}")
        return schedule.model_copy(update={"warmup": steps})


@cache
def with_role(role: str) -> tuple[str, ...]:
    """Dotted paths of the settings, and groups of them, that are marked so: FREE, FIXED, OF_METHOD."""
    return settings_with(schema_of(TrainConfig), role)
