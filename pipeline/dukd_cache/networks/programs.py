"""Networks that are only asked: TorchScript, exported programs, ONNX models and the user's own code.

Their architecture need not be known: a student needs a class, a teacher does not. Loading one runs code: the file's, in
torch's interpreter or ONNX Runtime, or the user's own.

Shapes: N images, H×W input sides, s scale.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from spandrel import (  # type: ignore[import-untyped]
    Architecture,
    ImageModelDescriptor,
    SizeRequirements,
)
from torch import Tensor, nn

from dukd_cache.networks import asking, loading, opening
from dukd_cache.networks.file_kind import container
from dukd_cache.networks.loading import TAKEN
from dukd_cache.networks.network import Network
from dukd_cache.networks.opening import Opened, words
from dukd_cache.networks.weights_file import located
from dukd_cache.settings.addresses import code_of
from dukd_cache.settings.takes import USUAL, Takes
from dukd_cache.system.errors import DukdError, SettingError, WeightsError, one_line

_ALIKE = 1e-4
"""The difference of values in [0,1] at which a program is taken for the network that its tensors make."""


class Program(nn.Module):
    """[N,3,H,W] to [N,3,sH,sW], asked as it is; always in the mode in which it answers."""

    def __init__(self, opened: Opened, path: Path) -> None:
        super().__init__()
        self.opened = opened
        self.path = path
        self.inner = opened.module
        self.training = False
        self.one_by_one = False
        self.scale: int | None = None
        """None: not known yet."""

    def train(self, _mode: bool = True) -> "Program":
        return self

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Raises a WeightsError, in one line with the input's shape, for whatever goes wrong in the program."""
        kind, count = self.opened.kind, len(image_NCHW)
        if self.opened.fixed and torch.is_autocast_enabled(image_NCHW.device.type):
            raise SettingError(f"{kind} computes in what it was exported in: leave it at fp32", "`precision`")
        if self.one_by_one and count > 1:
            return torch.cat([self(image_NCHW[n : n + 1]) for n in range(count)])
        shape = "×".join(map(str, image_NCHW.shape))
        try:
            answer = self.opened.ask(image_NCHW)
        except (DukdError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # what is not known can fail in any way
            raise WeightsError(f"{kind} fails on an input of {shape} ({words(error)})", self.path) from error
        image = answer[0] if isinstance(answer, list | tuple) and answer else answer
        if not isinstance(image, Tensor) or not image.is_floating_point() or not self._fits(image_NCHW, image):
            what = f"{image.dtype} {[*image.shape]}" if isinstance(image, Tensor) else type(image).__name__
            wanted = f"floating point [{count}, 3, {self.scale or 'scale'} × height, {self.scale or 'scale'} × width]"
            raise WeightsError(f"{kind} answers an input of {shape} with {what}, expected {wanted}", self.path)
        return image.clone()  # the user's own code may give its next answer in the same place

    def _fits(self, image_NCHW: Tensor, answer: Tensor) -> bool:
        if self.scale is None:
            return answer.dim() == 4 and len(answer) == len(image_NCHW)
        height, width = image_NCHW.shape[-2:]
        return answer.shape == (len(image_NCHW), 3, self.scale * height, self.scale * width)


class _Unknown(Architecture[Program]):  # type: ignore[misc]
    """What spandrel is told of a program."""

    def __init__(self, kind: str) -> None:
        super().__init__(id=kind, detect=lambda _state: False)

    def load(self, state_dict: Mapping[str, Any]) -> ImageModelDescriptor[Program]:
        raise NotImplementedError


def load_any(path: Path, takes: Takes = USUAL) -> Network:
    """What can be asked for answers: a program, the user's own code (`python:FILE.py:FUNCTION`), or weights.

    Scale and window of what is not understood are found by asking it. A TorchScript file whose tensors make a network
    that answers alike is that network, so it has the fingerprint of its weights.

    Raises:
        WeightsError: unreadable, no RGB network of scale 2, 3 or 4, or it fails.
        SettingError: ONNX Runtime is not installed.
    """
    try:
        own = code_of(path)
        with torch.random.fork_rng(devices=[]):  # the user's code may draw
            kind = "python" if own else container(located(path))
            if kind in ("safetensors", "pickle"):
                return replace(loading.load(path), takes=takes)
            if kind == "torchscript":
                return _script_or_weights(path, takes)
            opened = opening.own_code(*own) if own else opening.pt2(path) if kind == "pt2" else opening.onnx(path)
            return _network(opened, path, takes)
    except WeightsError as error:
        raise error if error.subject == str(path) else error.about(path) from None
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror or one_line(error)})", path) from error


def _network(opened: Opened, path: Path, takes: Takes) -> Network:
    said = opened.facts.get("window", "")
    program = Program(opened, path).requires_grad_(False)
    bare = _described(program, asking.Found(1, 1, 1, one_by_one=False), takes)

    def ask(image_NCHW: Tensor) -> Tensor:
        return bare.given(program(bare.taken(image_NCHW)))

    if takes.window is None and said.isdecimal() and int(said):  # what is exported here answers all sides
        found = asking.find(ask, 1, int(said))
    else:
        found = asking.find(ask, takes.window, takes.window)
    program.one_by_one, program.scale = found.one_by_one, found.scale
    return _described(program, found, takes.model_copy(update={"window": found.window}))


def _described(program: Program, found: asking.Found, takes: Takes) -> Network:
    opened = program.opened
    descriptor = ImageModelDescriptor(
        program,
        program.state_dict(),
        _Unknown(opened.kind),
        "SR" if found.scale > 1 else "Restoration",
        [],
        supports_half=not opened.fixed,
        supports_bfloat16=not opened.fixed,
        scale=found.scale,
        input_channels=3,
        output_channels=3,
        size_requirements=SizeRequirements(multiple_of=found.required),
    )
    facts = {name: value for name, value in opened.facts.items() if name != TAKEN}
    return Network(descriptor, opened.kind, dict(opened.identity), facts, takes)


def _script_or_weights(path: Path, takes: Takes) -> Network:
    """The network that its tensors make, where it answers as the program does; else the program.

    Not every setting can be seen from tensors.
    """
    weights: Network | None
    try:
        weights = replace(loading.load(path), takes=takes)
    except WeightsError:
        weights = None
    try:
        program = _network(opening.torchscript(path), path, takes)
    except WeightsError:
        if weights is None:
            raise
        return weights
    return weights if weights is not None and _alike(program, weights) else program


def _alike(program: Network, weights: Network) -> bool:
    side = program.window * -(-24 // program.window)
    image_NCHW = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    one, other = (replace(each, takes=USUAL).unclamped(image_NCHW).clamp(0, 1) for each in (program, weights))
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=_ALIKE)
