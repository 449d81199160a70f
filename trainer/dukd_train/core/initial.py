"""Where a student starts from: the tensors of trained weights, of its own scale (fine-tuning) or another one.

From another scale, those tensors are taken whose name and shape agree, and the rest of the upsampler stays random, as
EDSR's and RCAN's authors do: their ×4 networks begin as their ×2 ones, with the first stage of the upsampler (the same
convolution to four times the channels) and the last convolution.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.system.errors import SettingError

_NAMED = 4
"""So many tensors are named in a line; others are counted."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Inherited:
    """What a student was given."""

    file: Path
    fingerprint: str
    """Of the network in the file: see `networks.fingerprint`."""
    scale: int
    """Of that network."""
    taken: tuple[str, ...]
    """Tensors that the student has from the file."""
    new: tuple[str, ...]
    """Tensors that stay random."""
    differing: tuple[str, ...]
    """Settings of the same name and another value, which are the student's: `res_scale 1.0 (0.1 there)`."""

    def facts(self) -> dict[str, Any]:
        """What `run.json` says of it."""
        return {
            "init": str(self.file),
            "init_fingerprint": self.fingerprint,
            "init_scale": self.scale,
            "init_tensors": len(self.taken),
        }

    def __str__(self) -> str:
        parts = [f"student.init: {self.file} (×{self.scale}): {len(self.taken)} tensors taken"]
        if self.new:
            parts.append(f"{len(self.new)} new: {_list(self.new)}")
        if self.differing:
            parts.append(f"the student has {', '.join(self.differing)}")
        return "; ".join(parts)


def start_from(file: Path, student: Network) -> Inherited:
    """Give `student`, which is on the CPU, the tensors of the network in `file`.

    Settings that leave no trace in the tensors (`res_scale` of EDSR, `drop_path_rate` of SwinIR) need not agree.

    Raises:
        SettingError: the file holds no network of the student's architecture and settings.
    """
    source = networks.load(file)
    if source.architecture != student.architecture:
        message = f"expected weights of {student.architecture}, the student, found {source.architecture}"
        raise SettingError(f"{file}: {message}", "student.init")
    wanted, found = _shapes(_of_scale(student, source.scale)), _shapes(source)
    if found != wanted:
        raise SettingError(f"{file}: not of the student's settings: {_difference(wanted, found)}", "student.init")
    own, given = student.module.state_dict(), source.module.state_dict()
    taken = {name: given[name] for name, tensor in own.items() if name in given and given[name].shape == tensor.shape}
    with torch.no_grad():
        for name, tensor in taken.items():
            own[name].copy_(tensor)
    new = tuple(name for name in own if name not in taken)
    return Inherited(file, networks.fingerprint(source), source.scale, tuple(taken), new, _differing(student, source))


def _of_scale(student: Network, scale: int) -> Network:
    """A network of the student's architecture and settings, but of another scale."""
    if scale == student.scale:
        return student
    with torch.random.fork_rng(devices=[]):
        return networks.build(student.architecture, scale, student.settings)


def _shapes(network: Network) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in network.module.state_dict().items()}


def _difference(wanted: Shapes, found: Shapes) -> str:
    """Which tensors do not agree, the first kind of disagreement."""
    for problem, names in {
        "it lacks": sorted(wanted.keys() - found.keys()),
        "it also has": sorted(found.keys() - wanted.keys()),
    }.items():
        if names:
            return f"{problem} {_list(names)}"
    unlike = [name for name in wanted if wanted[name] != found[name]]
    first = unlike[0]
    size, asked = ("×".join(map(str, shapes[first])) for shapes in (found, wanted))
    others = f", likewise {_list(unlike[1:])}" if unlike[1:] else ""
    return f"{first} is {size}, the student's {asked}{others}"


def _list(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _differing(student: Network, source: Network) -> tuple[str, ...]:
    return tuple(
        f"{key} {value} ({source.settings[key]} there)"
        for key, value in student.settings.items()
        if key in source.settings and source.settings[key] != value
    )
