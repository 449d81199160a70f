"""A student with its averaged copy and its optimizer: all that a training step changes, and the step itself."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dukd_cache.networks import Network
from dukd_cache.networks.devices import AUTOCAST, compile_in_place
from dukd_train.core.adversarial import adversaries
from dukd_train.core.parallel import World
from dukd_train.core.recorded import Recorded, keep_masks
from dukd_train.core.targets import compared
from dukd_train.data.rows import Batch
from dukd_train.errors import RunError
from dukd_train.objective import Term
from dukd_train.settings import Optimizer, TrainConfig


class Learner:
    """Trains a student, in place.

    Weights, averages and the optimizer's moments are float32, whatever the precision of the computation.
    """

    def __init__(self, config: TrainConfig, student: Network, terms: Mapping[str, Term], world: World) -> None:
        """`terms` are those of the loss; `student` is moved to the device of `world`."""
        student.module.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.student = student
        self.averaged = copy.deepcopy(student)
        self.averaged.module.requires_grad_(False)
        self._called = world.shared(student)
        if config.compile:
            compile_in_place(student.module, world.device)
        self._terms, self._device = terms, world.device
        self._learned = adversaries(config, terms, world)
        self._clip, self._autocast = config.optimizer.clip, AUTOCAST.get(config.precision)
        self._optimizer = _optimizer(config.optimizer, student.module, world.device)
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=config.precision == "fp16")
        # Listed once: walking through the modules takes as long as a small optimizer's step.
        self._parameters: list[Tensor] = list(student.module.parameters())
        self._averages: list[Tensor] = list(self.averaged.module.parameters())
        self._buffers = list(zip(self.averaged.module.buffers(), student.module.buffers(), strict=True))
        student.module.train()
        alone_on_gpu = world.device.type == "cuda" and world.size == 1
        can_be_recorded = alone_on_gpu and not config.compile and not self._scaler.is_enabled()
        self._asked = torch.cuda.Event() if world.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._recorded: Recorded | None = None
        if config.cuda_graph and can_be_recorded:
            keep_masks(student.module, world.device)
            self._recorded = Recorded(self._advance, world.device)

    def step(self, batch: Mapping[str, Batch], rate: float, decay: float, number: int = 0) -> dict[str, Tensor]:
        """One step at learning rate `rate`, then averaged ← decay·averaged + (1 − decay)·student.

        The terms have the weights of step `number`, counted from 0.
        Returns the terms of the loss, without their weights, and what measures that learn tell (`gan.real`), on the
        device: nothing here waits for it.
        """
        numbers = [rate, 1 - decay, *(term.weight_at(number) for term in self._terms.values())]
        found = (self._recorded or self._advance)(batch, numbers)
        if self._asked:
            self._asked.record(torch.cuda.current_stream(self._device))
        return found

    def is_done(self) -> bool:
        """Whether the device has done all steps that it was asked for. Waits for nothing."""
        return self._asked is None or bool(self._asked.query())  # type: ignore[no-untyped-call]

    def _advance(self, batch: Mapping[str, Batch], numbers: Sequence[float | Tensor]) -> dict[str, Tensor]:
        """The step, with its learning rate, the share of the student in the new averages, and the terms' weights."""
        rate, share, *weights = numbers
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None):
            outputs = _forward(self._called, batch)
        losses = {
            name: term.measured(*compared(outputs[term.view], batch[term.view], term.to), self._learned.get(name))
            for name, term in self._terms.items()
        }
        total = torch.stack([weight * loss for weight, loss in zip(weights, losses.values(), strict=True)]).sum()
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        if self._clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._average(share)
        for name, learned in self._learned.items():
            losses |= {f"{name}.{what}": loss for what, loss in learned.learn(rate).items()}
        return {name: loss.detach() for name, loss in losses.items()}

    def is_finite(self) -> bool:
        """Whether every weight is a finite number. Waits for the device."""
        tensors = [
            tensor.detach() for tensor in self.student.module.state_dict().values() if tensor.is_floating_point()
        ]
        return bool(torch.stack(torch._foreach_norm(tensors, torch.inf)).isfinite().all())

    def state(self) -> dict[str, Any]:
        """What the next step needs, by its names in a `Checkpoint`: references, not copies."""
        return {
            "student": self.student.module.state_dict(),
            "ema": self.averaged.module.state_dict(),
            "optimizer": self._optimizer.state_dict()["state"],
            "scaler": self._scaler.state_dict(),
            "learned": {name: learned.state() for name, learned in self._learned.items()},
        }

    def restore(
        self,
        student: dict[str, Any],
        ema: dict[str, Any],
        optimizer: dict[str, Any],
        scaler: dict[str, Any],
        learned: dict[str, Any],
    ) -> None:
        """Go on from a `state`. The optimizer's settings stay those that the learner was made with.

        Measures that learn begin anew where it has none of their term.

        Raises:
            RunError: it is of another student or another optimizer.
        """
        try:
            self.student.module.load_state_dict(student)
            self.averaged.module.load_state_dict(ema)
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": optimizer, "param_groups": groups})
        except (RuntimeError, ValueError) as error:
            raise RunError("the checkpoint is of another student") from error
        if scaler and self._scaler.is_enabled():
            self._scaler.load_state_dict(scaler)
        for name, state in learned.items():
            if name in self._learned:
                self._learned[name].restore(**state)

    @torch.no_grad()
    def _average(self, share: float | Tensor) -> None:
        if isinstance(share, Tensor):
            apart = torch._foreach_sub(self._parameters, self._averages)
            torch._foreach_mul_(apart, share)
            torch._foreach_add_(self._averages, apart)
        else:
            torch._foreach_lerp_(self._averages, self._parameters, share)
        for kept, current in self._buffers:
            kept.copy_(current)


def _optimizer(chosen: Optimizer, module: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    kind = torch.optim.Adam if chosen.kind == "adam" else torch.optim.AdamW
    # Fused: one pass over each tensor. On a CPU it takes a third of the time of torch's default.
    return kind(
        parameters,
        lr=chosen.lr,
        betas=chosen.betas,
        weight_decay=chosen.weight_decay,
        fused=True,
        capturable=device.type == "cuda",
    )


def _forward(student: Network, batch: Mapping[str, Batch]) -> dict[str, Tensor]:
    """The student's outputs; views whose inputs have one size go through it together."""
    sizes = {view: part["input"].shape[-1] for view, part in batch.items()}
    outputs: dict[str, Tensor] = {}
    for size in dict.fromkeys(sizes.values()):
        views = [view for view in batch if sizes[view] == size]
        inputs = torch.cat([batch[view]["input"] for view in views])
        inputs = inputs.float().div(255).contiguous(memory_format=torch.channels_last)
        pieces = torch.split(student.forward(inputs), [len(batch[view]["input"]) for view in views])
        outputs.update(zip(views, pieces, strict=True))
    return outputs
