"""The measure `gan`: a discriminator that learns with the student to tell its answers from what they are compared with.

Generator and discriminator are trained as in Real-ESRGAN (Wang et al., ICCV workshops 2021, arXiv 2107.10833): a U-Net
with spectral norm says of every pixel whether it is real; D, its answer before the sigmoid, is compared by binary cross
entropy, without saturation:

student          mean of softplus(−D(S(x)))
discriminator    mean of softplus(−D(real)) + mean of softplus(D(S(x)))

Each mean is 0.69 (ln 2) where it cannot tell. A step trains the student first, then the discriminator on the same
answers. What it calls real is what the term is compared `to`. Nothing of it is left in the student.

Shapes: N records, C = 3 channels, H = W sides of an answer; values in [0,1], the student's not clamped.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, softplus
from torch.nn.utils.parametrizations import spectral_norm

from dukd_cache.networks.devices import AUTOCAST
from dukd_train.core.parallel import World
from dukd_train.errors import RunError
from dukd_train.measures import real
from dukd_train.objective import GAN, Term
from dukd_train.settings import TrainConfig

_SLOPE = 0.2
"""Of leaky ReLU below 0."""

_BETAS = (0.9, 0.99)
"""Of the discriminator's Adam: Real-ESRGAN's."""


class Adversary:
    """A discriminator, its optimizer, and the answers of the step under way."""

    def __init__(self, config: TrainConfig, world: World) -> None:
        """Weights are a function of the seed alone, in every process of `world`; nothing is drawn for others."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            network = Discriminator(config.discriminator.width)
        self._network = network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._parameters = list(self._network.parameters())
        self._relative_lr = config.discriminator.relative_lr
        on_gpu = world.device.type == "cuda"  # where a step may be recorded
        self._optimizer = torch.optim.Adam(self._parameters, betas=_BETAS, fused=True, capturable=on_gpu)
        self._autocast, self._world = AUTOCAST.get(config.precision), world
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=config.precision == "fp16")
        self._pair: tuple[Tensor, Tensor] | None = None

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """The student's loss: how far its answers are from being taken for real. `learn` learns of the same."""
        self._pair = output.detach(), real(target)
        self._network.requires_grad_(False)  # their gradients are not the student's matter
        loss = softplus(-self._answers(output)).mean()
        self._network.requires_grad_(True)
        return loss

    def learn(self, rate: float | Tensor) -> dict[str, Tensor]:
        """One step on the last answers, at a learning rate relative to `rate`, the student's.

        Returns its two losses, of what is `real` and what is `fake`, on the device.
        """
        assert self._pair, "a student's answers come first"
        fake, truth = self._pair
        for group in self._optimizer.param_groups:
            group["lr"] = self._relative_lr * rate
        self._optimizer.zero_grad(set_to_none=True)
        losses: dict[str, Tensor] = {}
        for name, images, sign in (("real", truth, -1), ("fake", fake, 1)):
            losses[name] = softplus(sign * self._answers(images)).mean()
            self._scaler.scale(losses[name]).backward()  # type: ignore[no-untyped-call]
        for parameter in self._parameters:
            if parameter.grad is not None:
                self._world.mean(parameter.grad)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._pair = None
        return {name: loss.detach() for name, loss in losses.items()}

    def state(self) -> dict[str, Any]:
        """What the next step needs: references, not copies."""
        optimizer, scaler = self._optimizer.state_dict()["state"], self._scaler.state_dict()
        return {"network": self._network.state_dict(), "optimizer": optimizer, "scaler": scaler}

    def restore(self, network: dict[str, Any], optimizer: dict[str, Any], scaler: dict[str, Any]) -> None:
        """Go on from a `state`.

        Raises:
            RunError: it is of another discriminator.
        """
        try:
            self._network.load_state_dict(network)
        except RuntimeError as error:
            raise RunError("the checkpoint is of another discriminator") from error
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": optimizer, "param_groups": groups})
        if scaler and self._scaler.is_enabled():
            self._scaler.load_state_dict(scaler)

    def _answers(self, images_NCHW: Tensor) -> Tensor:
        """D [N,1,H,W] in float32, computed in the precision of the run."""
        images_NCHW = images_NCHW.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._world.device.type, self._autocast, enabled=self._autocast is not None):
            answers: Tensor = self._network(images_NCHW)
        return answers.float()


class Discriminator(nn.Module):
    """Three halvings to eight times the channels, and back, with the sum of both at each size."""

    def __init__(self, width: int) -> None:
        """`width` channels at full size: 64 are Real-ESRGAN's 4.4 M parameters, which go with its square."""
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        steps = [*pairwise(widths)]
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList(_Normed(shallow, deep, 4, stride=2) for shallow, deep in steps)
        self.up = nn.ModuleList(_Normed(deep, shallow, 3) for shallow, deep in reversed(steps))
        self.mixed = nn.ModuleList(_Normed(width, width, 3) for _ in range(2))
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """[N,1,H,W]: how real each pixel is, positive where it is taken for real. Sides of 8 or more."""
        found = [leaky_relu(self.first(images_NCHW), _SLOPE)]
        for down in self.down:
            found.append(leaky_relu(down(found[-1]), _SLOPE))
        features = found.pop()
        for up in self.up:
            before = found.pop()
            features = interpolate(features, before.shape[-2:], mode="bilinear", align_corners=False)
            features = leaky_relu(up(features), _SLOPE) + before
        for mixed in self.mixed:
            features = leaky_relu(mixed(features), _SLOPE)
        answers: Tensor = self.last(features)
        return answers


class _Normed(nn.Conv2d):
    """A convolution divided by its largest singular value, one power iteration a call (Miyato et al., ICLR 2018)."""

    def __init__(self, before: int, after: int, side: int, stride: int = 1) -> None:
        super().__init__(before, after, side, stride, padding=1, bias=False)
        spectral_norm(self)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):  # else the power iteration is of 16 bits, too
            weight = self.weight
        convolved: Tensor = self._conv_forward(features, weight, None)
        return convolved


def adversaries(config: TrainConfig, terms: Mapping[str, Term], world: World) -> dict[str, Adversary]:
    """The measures that learn, by the names of their terms."""
    return {name: Adversary(config, world) for name, term in terms.items() if term.by == GAN}
