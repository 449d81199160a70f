"""A network whose answer is known."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Nearest:
    """Repeats pixels, `gain` times as bright; out of memory on more than `room` of them; keeps what it was asked."""

    scale: int = 2
    gain: float = 1.0
    room: int = 10**9
    error: Callable[[], Exception] = torch.OutOfMemoryError
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        self.asked.append(tuple(image_NCHW.shape[-2:]))
        if image_NCHW[0, 0].numel() > self.room:
            raise self.error()
        return image_NCHW.repeat_interleave(self.scale, dim=2).repeat_interleave(self.scale, dim=3) * self.gain
