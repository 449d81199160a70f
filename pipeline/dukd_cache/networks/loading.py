"""SR networks: EDSR and the architectures of spandrel; built by name, loaded from and saved to weights files.

A weights file written here is an ordinary safetensors file whose metadata carry the network's settings as
JSON under the key `dukd`, as not every setting can be seen from the tensors.

Shapes: N images, H×W input sides, s scale.
"""

import hashlib
import json
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from spandrel import (  # type: ignore[import-untyped]
    MAIN_REGISTRY,
    ArchId,
    ArchSupport,
    ImageModelDescriptor,
)
from torch import nn

from dukd_cache.networks import constructors, edsr, rcan, weights_file
from dukd_cache.networks.network import SCALES, Network, described, unfit_for_sr
from dukd_cache.networks.setting_types import checked
from dukd_cache.networks.weights_file import Candidate, State
from dukd_cache.system.errors import DukdError, SettingError, WeightsError, one_line, unknown_name
from dukd_cache.system.terminal import tell_once

TAKEN = "taken"
"""In a network's metadata: which of the networks in its file it is, where there is more than one."""

_METADATA_KEY = "dukd"
_DERIVED = ".eval_conv."
"""In the names of SPAN's merged convolutions, which each call in eval mode computes anew from the others."""

edsr.register()
rcan.register()

# Half of the architectures call it in the old way, some at each call: nothing that a user could mend.
warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)


def architectures() -> list[str]:
    """Names of all architectures that `build` takes, sorted. Not each of them can do each scale."""
    return sorted(constructors.constructors())


def build(architecture: str, scale: int, settings: Mapping[str, Any]) -> Network:
    """A randomly initialised network, in training mode; draws from torch's global generator.

    `settings` are the keywords of the architecture's own constructor, less the scale. Those left out get its
    defaults; where these make no SR network, 3 channels, upsampler `pixelshuffle`, window size 8 for 7.

    Raises:
        SettingError: an unknown architecture or setting, or values that make no RGB network of this scale.
    """
    known = constructors.constructors()
    name = next((name for name in known if name.lower() == architecture.lower()), None)
    if name is None:
        raise SettingError(unknown_name("architecture", architecture, known))
    if scale not in SCALES:
        raise SettingError(f"scale must be 2, 3 or 4, got {scale!r}")
    constructor = known[name][1]
    scale_keyword, defaults = constructors.scale_keyword(constructor), constructors.defaults(constructor)
    if scale_keyword in settings:
        raise SettingError(f"{scale_keyword!r} follows from the scale ({scale})", name, cure="leave it out")
    for key in settings:
        if key not in defaults:
            raise SettingError(_unknown_setting(name, str(key), settings.keys(), defaults))
    chosen = defaults | {key: checked(name, constructor, key, defaults[key], given) for key, given in settings.items()}
    for key, value in chosen.items():
        if value is constructors.REQUIRED:
            raise SettingError(f"setting {key!r} has no default", name, cure="give it")
    network = _construct(name, *known[name], chosen | {scale_keyword: scale})
    if network.scale != scale and scale**2 % network.scale == 0:
        # With pixel unshuffle before the body, the constructor's scale is a multiple of the network's.
        network = _construct(name, *known[name], chosen | {scale_keyword: scale**2 // network.scale})
    if network.scale != scale:
        raise SettingError(f"scale {scale} expected, these settings make {network.scale}", name)
    if unfit := unfit_for_sr(network.descriptor):
        raise SettingError(unfit, name)
    _try_out(network)
    return network


def load(path: Path) -> Network:
    """The SR network in a weights file, or the student in a run folder, on the CPU, in training mode.

    A pickled file may hold tensors and plain values only; anything else in it is refused, not run. Where averaged
    weights lie beside raw ones, as `params_ema` beside `params`, they are taken, which is said on standard error.
    Settings that tensors cannot show are spandrel's guess, unless `save` wrote the file.

    Raises:
        WeightsError: unreadable, no RGB network of scale 2, 3 or 4, several of them, metadata that do not fit the
            tensors, or parameters that are not finite.
    """
    try:
        file = weights_file.located(path)
        content, metadata = weights_file.read(file)
        metadata.pop(TAKEN, None)  # of the file that these weights were once taken from
        with torch.random.fork_rng(devices=[]):  # a module is initialised randomly before it gets its tensors
            recipe = metadata.pop(_METADATA_KEY, None)
            network = _detect(content, file, metadata) if recipe is None else _rebuild(recipe, content)
        _refuse_damaged(network)
        return replace(network, metadata=metadata)
    except WeightsError as error:
        raise error.about(path) from None
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror or one_line(error)})", path) from error
    except Exception as error:  # a foreign file can fail in any way while it is unpickled and matched
        raise WeightsError(f"not the weights of a network ({one_line(error)})", path) from error


def file_at(path: Path) -> Path:
    """The weights file that `load` reads: `path`, or the student in the run folder `path`.

    Raises:
        WeightsError: there is none.
    """
    try:
        return weights_file.located(path)
    except WeightsError as error:
        raise error.about(path) from None


def save(network: Network, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all; `metadata` joins the settings in its header.

    Plain spandrel reads it, too, as far as its detection covers the architecture (with EDSR registered).
    """
    header = dict(metadata)
    if network.architecture in constructors.constructors():
        recipe = {
            "architecture": network.architecture,
            "scale": network.scale,
            "settings": dict(network.settings),
        }
        header[_METADATA_KEY] = json.dumps(recipe)
    weights_file.write(path, network.module.state_dict(), header)


def fingerprint(network: Network) -> str:
    """SHA-256 (hex) over architecture, scale, settings and every tensor: name, dtype, shape, bytes.

    Of a program the settings hold that of its file. What it takes counts, less its window.

    One set of weights has one fingerprint: from .pth as from .safetensors, on any device, also after calls.
    """
    identity = [network.architecture, network.scale, _plain_numbers(network.settings)]
    identity += [network.takes.unusual] if network.takes.unusual else []
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    for name, tensor in sorted(network.module.state_dict().items()):
        if _DERIVED not in name:
            digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _detect(content: Mapping[str, Any], file: Path, metadata: dict[str, str]) -> Network:
    """The network that spandrel recognises by its tensors; `metadata` learn which of several in the file it is."""
    found = weights_file.candidates(content, lambda state: architecture_of(state) is not None)
    averaged = [candidate for candidate in found if candidate.averaged]
    chosen, descriptor = _the_one(averaged or found)
    if averaged and len(found) > len(averaged):
        metadata[TAKEN] = chosen.path
        tell_once(f"{file}: holds raw and averaged weights; took the averaged ones, {chosen.path}")
    name = {constructor: name for name, (_, constructor) in constructors.constructors().items()}.get(
        type(descriptor.model), str(descriptor.architecture.id)
    )
    return Network(descriptor, name, constructors.settings_of(descriptor.model), {})


def _the_one(found: Sequence[Candidate]) -> tuple[Candidate, ImageModelDescriptor[nn.Module]]:
    """The only SR network among those found.

    Raises:
        WeightsError: none can serve, or several could.
    """
    fit: list[tuple[Candidate, ImageModelDescriptor[nn.Module]]] = []
    unfit: list[str] = []
    for candidate in found:
        support = architecture_of(candidate.tensors)
        assert support is not None
        try:
            descriptor = support.architecture.load(dict(candidate.tensors))
        except DukdError as error:
            unfit.append(str(error))
            continue
        except Exception as error:  # tensors of other shapes than these names should have can fail in any way
            unfit.append(f"its names are those of {support.architecture.name}, but {one_line(error)}")
            continue
        if why := unfit_for_sr(descriptor):
            unfit.append(f"{descriptor.architecture.name}: {why}")
        elif not any(_same(candidate.tensors, other.tensors) for other, _ in fit):
            fit.append((candidate, descriptor))
    if len(fit) > 1:
        names = ", ".join(f"{each.path} ({descriptor.architecture.name})" for each, descriptor in fit)
        raise WeightsError(f"holds several networks, {names}: save the one that is meant in a file of its own")
    if not fit:
        raise WeightsError(unfit[0])
    return fit[0]


def architecture_of(state: State) -> ArchSupport | None:
    """What spandrel takes tensors for, by their names."""
    return next((support for support in MAIN_REGISTRY.architectures("detection") if support.detect(state)), None)


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _unknown_setting(name: str, key: str, given: Collection[str], valid: Iterable[str]) -> str:
    """One line for a setting that `name` does not have, where all that is `given` may be of another architecture."""
    known = {
        other: constructors.defaults(constructor) for other, (_, constructor) in constructors.constructors().items()
    }
    owner = next((other for other in ("EDSR", *known) if known[other].keys() >= set(given)), None)
    if owner is None:
        return unknown_name(f"setting of {name}", key, valid)
    cure = "`student.settings={}` drops what a file has"
    return f"unknown setting of {name} {key!r}, one of {owner}'s: {cure} (valid: {', '.join(sorted(valid))})"


def _rebuild(recipe: str, tensors: State) -> Network:
    """The network that a file's metadata describe, with its tensors."""
    try:
        parsed = json.loads(recipe)
        network = build(str(parsed["architecture"]), parsed["scale"], dict(parsed["settings"]))
    except SettingError as error:
        raise WeightsError(f"its metadata describe no network: {error}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"its metadata under {_METADATA_KEY!r} are damaged ({one_line(error)})") from None
    try:
        network.module.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"its tensors do not fit its metadata ({one_line(error)})") from None
    return network


def _refuse_damaged(network: Network) -> None:
    for name, parameter in network.module.named_parameters():
        if not parameter.isfinite().all():
            raise WeightsError(f"{name} holds numbers that are not finite (NaN or infinite): the weights are damaged")


def _construct(name: str, arch_id: ArchId, constructor: type[nn.Module], keywords: Mapping[str, Any]) -> Network:
    """A network with exactly these keywords; what spandrel makes of its tensors supplies the rest."""
    try:
        module = constructor(**keywords)
        with torch.random.fork_rng(devices=[]):  # spandrel's own copy must not shift the random numbers
            alike = MAIN_REGISTRY[arch_id].architecture.load(dict(module.state_dict()))
        return Network(described(module, alike), name, constructors.settings_of(module), {})
    except Exception as error:  # wrong values can fail in any way
        raise SettingError(f"{name} cannot be built with these settings ({one_line(error)})") from error


def _try_out(network: Network) -> None:
    """Refuse settings that fail only when the network is called, or that make another scale than it claims."""
    side = 8
    try:
        shape = tuple(network(torch.zeros(1, 3, side, side)).shape)
    except Exception as error:  # wrong values can fail in any way
        message = f"{network.architecture} cannot be called with these settings ({one_line(error)})"
        raise SettingError(message) from error
    if shape != (1, 3, network.scale * side, network.scale * side):
        message = f"{network.architecture}: these settings turn {side}×{side} pixels into shape {shape}"
        raise SettingError(f"{message}, which is not scale {network.scale}")
    network.module.train()


def _plain_numbers(value: Any) -> Any:
    """`value` with whole floats as integers, so that 2 and 2.0 are one setting."""
    if isinstance(value, Mapping):
        return {key: _plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
