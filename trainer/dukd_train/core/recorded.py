"""A training step that a GPU takes by itself: recorded once as a CUDA graph, then replayed in one launch.

A step of a small student is hundreds of kernels of some microseconds, which take longer to launch than to run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dukd_cache.system.sending import sent
from dukd_cache.system.terminal import say
from dukd_train.data.rows import Batch

_PLAIN_STEPS = 3
"""Before the recording: what is made or chosen at the first use of something must not be recorded."""

Step = Callable[[Mapping[str, Batch], Sequence[Tensor]], dict[str, Tensor]]
"""A batch, and numbers that change with the step, each a scalar on the device → scalars by name. Never waits."""


_Kind = tuple[tuple[str, str, torch.dtype, torch.Size], ...]
"""Of a batch: its views, their arrays, and their types and shapes."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    batch: dict[str, Batch]
    numbers: Tensor
    """[K], on the device."""
    names: list[str]
    values: Tensor

    def replay(self, batch: Mapping[str, Batch], numbers: Sequence[float]) -> dict[str, Tensor]:
        for view, arrays in batch.items():
            for name, images in arrays.items():
                self.batch[view][name].copy_(images)
        self.numbers.copy_(sent(torch.tensor(numbers), self.numbers.device))
        self.graph.replay()
        return dict(zip(self.names, self.values.clone().unbind(), strict=True))


class Recorded:
    """`step`, recorded for each kind of batch: with ECO, targets are floating point first and 8 bits later."""

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step, self._device = step, device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._plain_steps: dict[_Kind, int] = {}
        self._recordings: dict[_Kind, _Recording] = {}
        self._can_record = True

    def __call__(self, batch: Mapping[str, Batch], numbers: Sequence[float]) -> dict[str, Tensor]:
        """What `step` gives, in tensors of their own."""
        kind = kind_of(batch)
        if kind not in self._recordings:
            done = self._plain_steps.get(kind, 0)
            if done == _PLAIN_STEPS and self._can_record:
                self._record(kind, batch, numbers)
            else:
                self._plain_steps[kind] = min(done + 1, _PLAIN_STEPS)
        if kind in self._recordings:
            return self._recordings[kind].replay(batch, numbers)
        return self._plain(batch, torch.tensor(numbers, device=self._device).unbind())

    def _plain(self, batch: Mapping[str, Batch], numbers: Sequence[Tensor]) -> dict[str, Tensor]:
        """In the stream that is recorded, so that nothing is new to it."""
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            found = self._step(batch, numbers)
        outside.wait_stream(self._stream)
        return found

    def _record(self, kind: _Kind, batch: Mapping[str, Batch], numbers: Sequence[float]) -> None:
        """Nothing is computed by it. A student that waits for the GPU cannot be recorded, and goes on as before."""
        kept = {view: {name: images.clone() for name, images in arrays.items()} for view, arrays in batch.items()}
        numbers_K = torch.tensor(numbers, device=self._device)
        random, before = self._random, torch.Generator(self._device)
        before.set_state(random.get_state())
        graph = torch.cuda.CUDAGraph()
        try:
            # Only this thread's mistakes end it: another one makes the next batch ready meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                found = self._step(kept, numbers_K.unbind())
                values = torch.stack(list(found.values()))
        except RuntimeError as error:
            say(f"steps are not recorded as a CUDA graph, and may be slower: {str(error).splitlines()[0]}")
            self._can_record = False
            # It may still be in the state of a recording, in which it refuses to be drawn from.
            random.graphsafe_set_state(before)
            self._recordings.clear()
            return
        self._recordings[kind] = _Recording(graph, kept, numbers_K, list(found), values)

    @property
    def _random(self) -> torch.Generator:
        """What the student draws from."""
        index = self._device.index
        found = torch.cuda.default_generators[torch.cuda.current_device() if index is None else index]
        assert isinstance(found, torch.Generator)
        return found


def kind_of(batch: Mapping[str, Batch]) -> _Kind:
    """What a recording is of: another kind of batch, copied into its tensors, would be computed wrongly."""
    return tuple(
        (view, name, images.dtype, images.shape) for view, arrays in batch.items() for name, images in arrays.items()
    )


def keep_masks(module: nn.Module, device: torch.device) -> None:
    """Let the masks of shifted windows stay on the device: one for each size of input, each computed once.

    SwinIR and its kin compute them on the CPU for each input that is not of their `img_size`, and a copy from there
    cannot be recorded.
    """
    for part in module.modules():
        calculate = getattr(part, "calculate_mask", None)
        if calculate is not None:
            part.calculate_mask = _Masks(calculate, device)  # type: ignore[assignment]


class _Masks:
    """Called as `calculate` is."""

    def __init__(self, calculate: Callable[..., Tensor | tuple[Tensor, ...]], device: torch.device) -> None:
        self._calculate, self._device = calculate, device
        self._found: dict[str, Tensor | tuple[Tensor, ...]] = {}

    def __call__(self, *sizes: object, **how: object) -> Tensor | tuple[Tensor, ...]:
        size = repr((sizes, how))
        if size not in self._found:
            masks = self._calculate(*sizes, **how)
            self._found[size] = (
                masks.to(self._device) if isinstance(masks, Tensor) else tuple(mask.to(self._device) for mask in masks)
            )
        return self._found[size]
