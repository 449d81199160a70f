"""A frozen network as a batched function, with its fingerprint.

Shapes: N patches, p input side, q = scale · p.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import torch

from dukd_cache import __version__, networks
from dukd_cache.format.header import AnswerInfo
from dukd_cache.format.record import Dtype, Pixels
from dukd_cache.networks import Network
from dukd_cache.networks.devices import autocast, check_precision, compile_in_place, kind_of
from dukd_cache.networks.self_ensemble import mean_answer
from dukd_cache.pictures.bicubic import downscale_batch
from dukd_cache.settings.addresses import code_of
from dukd_cache.settings.choices import Precision, SelfEnsemble
from dukd_cache.settings.takes import USUAL, Takes
from dukd_cache.system.errors import SettingError
from dukd_cache.system.sending import sent

TAKES = "takes"
"""Among a network's settings in a manifest: what it takes otherwise than others do."""


@dataclass(frozen=True)
class Teacher:
    """What is asked, how, and where.

    Where its answers have context, inputs are given with it, and answers are those to their centres: p is then the side
    of what is given, less twice the context.
    """

    network: Network
    info: AnswerInfo
    device: torch.device
    compiled: bool = False
    """By torch.compile: the first batch of each size of inputs takes half a minute longer."""

    def about(self, of: str) -> "Teacher":
        """The same, asked about the array `of` of a record."""
        return replace(self, info=self.info.model_copy(update={"of": of}))

    @property
    def scale(self) -> int:
        """Of its answers, which may be smaller than the network's."""
        return self.network.scale // self.info.smaller

    def of_scale(self, scale: int) -> "Teacher":
        """The same with answers of `scale`: made smaller by the benchmarks' bicubic where it is half the network's.

        Raises:
            SettingError: the network is of another scale than `scale` or twice that.
        """
        for smaller in (1, 2):
            if self.network.scale == smaller * scale:
                return replace(self, info=self.info.model_copy(update={"smaller": smaller}))
        raise SettingError(f"{self.info.file} is a teacher of scale {self.network.scale}", f"`scale={scale}`")

    @property
    def takes_all_cores(self) -> bool:
        """Whether nothing else can be computed while it answers."""
        return self.device.type == "cpu"

    @property
    def computes_on(self) -> str:
        """Where this is equal, equal batches get answers that are equal bit for bit."""
        return f"{kind_of(self.device)}{', compiled' * self.compiled}"

    def __call__(self, input_Npp3: npt.NDArray[np.uint8], dtype: Dtype) -> Pixels:
        """Answers [N,q,q,3] to inputs u8 [N,p,p,3]: uint8 rounded half up, or floating point in [0,1].

        The last answer's precision is what `dtype` holds; the network computes in the teacher's own precision.

        Raises:
            AnswerError: the network answers with numbers that are not finite; `indices` says to which of the N.
        """
        return self.ask(input_Npp3, dtype)()

    def ask(self, input_Npp3: npt.NDArray[np.uint8], dtype: Dtype) -> Callable[[], Pixels]:
        """The same, but a GPU is only set to work: what is returned waits for the answers.

        So the next batch can be asked while this one is computed; bytes cross the bus, and meanwhile nothing waits.
        """
        input_NCpp = sent(torch.from_numpy(input_Npp3), self.device).permute(0, 3, 1, 2)
        answers_NCqq, finite_N = self._computed(input_NCpp)
        if dtype == "uint8":
            stored = answers_NCqq.mul(255).add(0.5).floor().to(torch.uint8)
        else:
            stored = answers_NCqq.half() if dtype == "float16" else answers_NCqq
        fetched, fetched_finite = _fetched(stored.permute(0, 2, 3, 1).contiguous()), _fetched(finite_N)

        def wait() -> Pixels:
            self._refuse_unless(fetched_finite())
            return fetched()

        return wait

    def answers(self, input_NCpp: torch.Tensor) -> torch.Tensor:
        """Answers [N,C,q,q] to inputs [N,C,p,p] on `device`, float32 in [0,1]: not rounded yet.

        Inputs are uint8, or float32 in [0,1].

        Raises:
            AnswerError: some are not finite.
        """
        answers_NCqq, finite_N = self._computed(input_NCpp)
        self._refuse_unless(finite_N.cpu().numpy())
        return answers_NCqq

    def _computed(self, input_NCpp: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Answers, and which of them are finite: looked at before they are clamped, which hides infinity."""
        finite: list[torch.Tensor] = []

        def ask(one_NCpp: torch.Tensor) -> torch.Tensor:
            asked_NCpp = one_NCpp.float().div(255) if one_NCpp.dtype == torch.uint8 else one_NCpp
            answers_NCqq = self.network.unclamped(asked_NCpp).float()
            finite.append(networks.finite(answers_NCqq))
            return self._made_smaller(answers_NCqq.clamp(0, 1))

        deterministic = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        size = self.info.self_ensemble
        with autocast(self.device, self.info.precision), deterministic:
            answers_NCqq = ask(input_NCpp) if size == 1 else mean_answer(size, ask, input_NCpp)
        margin = self.scale * self.info.context
        centre = slice(margin, answers_NCqq.shape[-1] - margin)
        return answers_NCqq[..., centre, centre], torch.stack(finite).all(0)

    def _made_smaller(self, answers_NCHH: torch.Tensor) -> torch.Tensor:
        """Rounded to 8 bits then, as the benchmarks' bicubic is of images."""
        if self.info.smaller == 1:
            return answers_NCHH
        return downscale_batch(answers_NCHH.mul(255), self.info.smaller).float().div(255)

    def _refuse_unless(self, finite_N: npt.NDArray[np.bool_]) -> None:
        networks.refuse_unless_finite(
            finite_N.tolist(), f"{self.info.file}: {self.info.architecture}", self.info.precision
        )


def load(
    weights: Path,
    device: torch.device,
    precision: Precision,
    *,
    compiled: bool = False,
    self_ensemble: SelfEnsemble = 1,
    context: int = 0,
    takes: Takes = USUAL,
) -> Teacher:
    """What answers in `weights` (see `networks.load_any`), frozen, on `device`.

    Each of its answers is the mean of `self_ensemble`, to an input with `context` pixels around.

    Raises:
        WeightsError: the file holds no SR network.
        SettingError: the device cannot compute in `precision`, or nothing can be compiled here.
    """
    check_precision(device, precision)
    network = networks.load_any(weights, takes)
    if compiled and network.is_program:
        raise SettingError(f"only networks of weights are compiled, not {network.architecture}", "`compile=true`")
    network.module.requires_grad_(False).eval()
    window, name = network.window, f"python:{weights.name}" if code_of(weights) else weights.name
    # Inputs come with their channels last, and so the weights should lie.
    network.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    info = AnswerInfo(
        file=f"{name} ({taken})" if (taken := network.metadata.get(networks.TAKEN)) else name,
        architecture=network.architecture,
        settings=dict(network.settings) | ({TAKES: unusual} if (unusual := network.takes.unusual) else {}),
        fingerprint=networks.fingerprint(network),
        precision=precision,
        window=window,
        self_ensemble=self_ensemble,
        context=context,
    )
    if compiled:
        compile_in_place(network.module, device)
    return Teacher(network.in_whole_windows(), info, device, compiled)


def software(answers: Iterable[AnswerInfo]) -> dict[str, str]:
    """Versions of what makes the pixels, these answers among them, by name."""
    spandrel = version("spandrel")
    found = {"dukd": __version__, "pillow": PIL.__version__, "torch": torch.__version__, "spandrel": spandrel}
    runs_onnx = any(info.architecture == "ONNX" for info in answers)
    return found | ({"onnxruntime": import_module("onnxruntime").__version__} if runs_onnx else {})


def _fetched(stored: torch.Tensor) -> Callable[[], npt.NDArray[Any]]:
    """What waits until `stored` is computed and returns it as an array."""
    if stored.device.type != "cuda":
        return stored.cpu().numpy
    pinned = torch.empty(stored.shape, dtype=stored.dtype, pin_memory=True)
    pinned.copy_(stored, non_blocking=True)
    done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    done.record()

    def wait() -> npt.NDArray[Any]:
        done.synchronize()
        return pinned.numpy()

    return wait
