"""A training step that a GPU takes by itself: recorded once as a CUDA graph, then replayed in one launch.

A step of a small student is hundreds of kernels of some microseconds, which take longer to launch than to run.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from dukd_cache.system.terminal import say
from dukd_train.data.rows import Batch

_PLAIN_STEPS = 3
"""Before the recording: what is made or chosen at the first use of something must not be recorded."""

Step = Callable[[Mapping[str, Batch], Sequence[Tensor]], dict[str, Tensor]]
"""A batch, and numbers that change with the step, each a scalar on the device → scalars by name. Never waits."""


class Recorded:
    """`step` for a batch of any values, always of the same shapes: what it computes stays where it lies in memory."""

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step, self._device = step, device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._plain_steps: float = _PLAIN_STEPS
        self._batch: dict[str, Batch] = {}
        self._numbers = torch.empty(0)
        self._names: list[str] = []
        self._values = torch.empty(0)

    def __call__(self, batch: Mapping[str, Batch], numbers: Sequence[float]) -> dict[str, Tensor]:
        """What `step` gives, in tensors of their own."""
        if not self._graph and self._plain_steps == 0:
            self._record(batch, numbers)
        if not self._graph:
            self._plain_steps -= 1
            return self._plain(batch, self._scalars(numbers))
        for view, arrays in batch.items():
            for name, images in arrays.items():
                self._batch[view][name].copy_(images)
        self._numbers.copy_(torch.tensor(numbers), non_blocking=True)
        self._graph.replay()
        return dict(zip(self._names, self._values.clone().unbind(), strict=True))

    def _plain(self, batch: Mapping[str, Batch], numbers: Sequence[Tensor]) -> dict[str, Tensor]:
        """In the stream that is recorded, so that nothing is new to it."""
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            found = self._step(batch, numbers)
        outside.wait_stream(self._stream)
        return found

    def _scalars(self, numbers: Sequence[float]) -> Sequence[Tensor]:
        return torch.tensor(numbers, device=self._device).unbind()

    def _record(self, batch: Mapping[str, Batch], numbers: Sequence[float]) -> None:
        """Nothing is computed by it. A student that waits for the GPU cannot be recorded, and goes on as before."""
        self._batch = {
            view: {name: images.clone() for name, images in arrays.items()} for view, arrays in batch.items()
        }
        self._numbers = torch.tensor(numbers, device=self._device)
        graph = torch.cuda.CUDAGraph()
        try:
            # Only this thread's mistakes end it: another one makes the next batch ready meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                found = self._step(self._batch, self._numbers.unbind())
                self._values = torch.stack(list(found.values()))
        except RuntimeError as error:
            say(f"steps are not recorded as a CUDA graph, and may be slower: {str(error).splitlines()[0]}")
            self._plain_steps = float("inf")
            return
        self._names, self._graph = list(found), graph
