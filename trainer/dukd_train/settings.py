"""The settings of a training run, validated: a YAML file, and `--set a.b=c` on top of it.

Defaults are the paper's (arXiv 2309.14162, section 4.1; DUKD's released EDSR configuration).
"""

from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dukd_cache.format.manifest import View
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
)
from dukd_train.scoring.scores import USUAL, MetricName

Method = Literal["scratch", "kd", "dukd"]


class Student(Settings):
    """The network to train."""

    architecture: str = "EDSR"
    """EDSR, or any SR architecture of spandrel: SwinIR, RCAN, SPAN, SAFMN, …"""
    settings: ByName[Any] = Field(default={})
    """The architecture's own: `channels` and `blocks` of EDSR, `embed_dim` of SwinIR, …"""
    init: Location | None = None
    """Weights to start from, of this architecture and settings; of those of another scale, all but the upsampler's."""


class Loss(Settings):
    """Weights λ of the parts of the loss, each a mean absolute difference in [0,1]. 0 switches a part off."""

    rec: Weight = 1.0
    """base: student and truth. The paper has 5 for EDSR and SwinIR, 1 for RCAN."""
    kd: Weight = 1.0
    """base: student and teacher."""
    zoom_in: Weight = 1.0
    """zoom_in: student and teacher."""
    zoom_out_rec: Weight = 1.0
    """zoom_out: student and truth."""
    zoom_out_kd: Weight = 1.0
    """zoom_out: student and teacher."""


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
    zoom: Chances = Chances()
    """Of zoom_in, and of zoom_out too unless that has its own."""
    zoom_out: Chances | None = None
    """Of zoom_out; those of `zoom` if not given. The authors' released code does not augment it."""

    def of(self, view: View) -> Chances:
        """The chances for records of `view`."""
        if view == "base":
            return self.base
        return self.zoom_out if view == "zoom_out" and self.zoom_out else self.zoom


class Data(Settings):
    """Where records are kept while a student trains. Changes its speed, never its batches."""

    resident: Literal["auto", "device", "memory", "no"] = "auto"
    """Decoded records in the GPU's memory, in main memory (one copy for all processes of a machine), or nowhere: then
    they are read again and again. auto: the first of these in which they fit."""
    memory_limit: PositiveReal | None = None
    """GB (10⁹ bytes) that decoded records may take; half of what is free if not given."""
    workers: Count | None = None
    """Processes that decode what is not resident, of each training process; one a core if not given. 0: none."""


class Optimizer(Settings):
    """How gradients become steps."""

    kind: Literal["adam", "adamw"] = "adam"
    """adam, or adamw: its weight decay is not scaled by the gradients' moments."""
    lr: PositiveReal = 1e-4
    """Learning rate at the start."""
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """Decay of the averaged gradients and of their squares."""
    weight_decay: Weight = 0.0
    """adam: this factor times the weights is added to the gradients (L2). adamw: the weights shrink by lr times it."""
    clip: PositiveReal | None = None
    """Largest norm of all gradients together; none by default."""


class Schedule(Settings):
    """How the learning rate falls."""

    kind: Literal["multistep", "cosine"] = "multistep"
    """multistep: in steps. cosine: along half a cosine, down to `floor`."""
    milestones: tuple[Positive, ...] = (100_000, 200_000)
    """multistep: the steps at which the rate is multiplied by `gamma`, increasing."""
    gamma: Probability = 0.1
    """multistep: factor on the rate at each milestone."""
    floor: Probability = 0.0
    """cosine: the last rate as a fraction of the first."""
    warmup: Count = 0
    """Steps over which the rate rises linearly from nothing; no more than the run has."""

    @field_validator("milestones")
    @classmethod
    def _increase(cls, milestones: tuple[int, ...]) -> tuple[int, ...]:
        for before, after in pairwise(milestones):
            if before >= after:
                raise ValueError(f"must increase, got {after} after {before}")
        return milestones


class ImageSet(Settings):
    """A benchmark."""

    hr: Location
    """Folder of HR images."""
    lr: Location | None = None
    """Folder of LR images; made by the benchmarks' bicubic if not given."""


class Validation(Settings):
    """Scores during training."""

    every: Count = 0
    """Steps between validations; 0: only at the end."""
    sets: ByName[ImageSet] = Field(default={})
    """Image sets by name."""
    metrics: tuple[MetricName, ...] = USUAL
    """What is computed. `psnr_y` must be among them, as curves show it; `lpips` and `dists` need `dukd[perceptual]`."""
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
    """Files of DVCLive for `dvc exp` and `dvc plots`, in the run folder's `dvclive`; needs `dukd[dvc]`."""


class TrainConfig(Settings):
    """All settings of a run."""

    method: Method = "dukd"
    """scratch: truth only. kd: truth and teacher on base. dukd: both, and the zoom views."""
    cache: CacheAddress
    """Folder of a finished cache, or its address: s3://bucket/cache."""
    scale: Literal[2, 3, 4] | None = None
    """SR factor. It follows from the cache; where it is given, a cache of another one is refused."""
    student: Student = Student()
    """The network to train."""
    steps: Positive = 250_000
    """Optimizer steps of the whole run."""
    batch: Positive = 16
    """Records of each view a step."""
    patch: Positive | None = None
    """Side of a training patch cut at random out of the cached one; the whole of it if not given."""
    loss: Loss = Loss()
    """Weights of the parts of the loss."""
    augment: Augment = Augment()
    """How often inputs are flipped, transposed and inverted."""
    data: Data = Data()
    """Where records are kept while the student trains."""
    optimizer: Optimizer = Optimizer()
    """How gradients become steps."""
    schedule: Schedule = Schedule()
    """How the learning rate falls."""
    ema: Probability = 0.999
    """Decay of the averaged weights, which are what is scored and saved."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """bf16, fp16: the student computes in it where PyTorch deems it safe; weights and sums stay float32."""
    compile: bool = False
    """Compile the student with torch.compile: a minute at the start, faster steps then. Needs a C++ compiler."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    seed: Seed = 0
    """Of weights, order, crops and augmentation."""
    log_every: Positive = 100
    """Steps between rows of `curve.csv`."""
    checkpoint_every: Positive = 1000
    """Steps between checkpoints; a run that was killed goes on from the last one."""
    validation: Validation = Validation()
    """Scores during training."""
    logging: Logging = Logging()
    """Trackers of experiments."""

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.schedule.warmup > self.steps:
            raise ValueError(f"schedule.warmup: expected at most steps ({self.steps}), got {self.schedule.warmup}")
        return self
