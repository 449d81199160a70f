"""Which other programs read a network's weights, and what each calls it.

`NAMES` holds what was tried with those programs' own code: built with the network's settings, the file's tensors load
strictly, and the answers are equal. neosr's transformers load, too, but subtract another mean colour (0.5) before they
look, and its RCAN computes on values of 0…1: they would have to be trained on.
"""

from collections.abc import Mapping
from copy import deepcopy

import torch

from dukd_cache.networks import constructors
from dukd_cache.networks.loading import architecture_of
from dukd_cache.networks.network import Network, described

NAMES: Mapping[str, Mapping[str, str]] = {
    "BasicSR": {"Compact": "SRVGGNetCompact", "EDSR": "EDSR", "RCAN": "RCAN", "SwinIR": "SwinIR"},
    "neosr": {
        "Compact": "compact",
        "DCTLSA": "dctlsa",
        "MoESR": "moesr",
        "PLKSR": "plksr",
        "RealPLKSR": "realplksr",
        "SAFMN": "safmn",
        "SPAN": "span",
    },
    "traiNNer-redux": {
        "ATD": "atd",
        "CRAFT": "craft",
        "Compact": "compact",
        "DAT": "dat",
        "DCTLSA": "dctlsa",
        "DITN": "ditn_real",
        "DRCT": "drct",
        "ESRGAN": "esrgan",
        "FDAT": "FDAT",
        "GRL": "grl_b",
        "HAT": "hat_m",
        "MoESR": "MoESR2",
        "MoSR": "mosr",
        "OmniSR": "omnisr",
        "PLKSR": "plksr",
        "RCAN": "RCAN",
        "RGT": "rgt",
        "RealPLKSR": "realplksr",
        "SAFMN": "safmn",
        "SPAN": "span",
        "SeemoRe": "seemore_t",
        "Swin2SR": "swin2sr_m",
        "SwinIR": "swinir_m",
    },
}
"""The `type` of a network in each program's options, by its architecture here."""

_SIDE = 16
"""Of the input, in pixels, by which two networks are compared."""


def read_by(network: Network) -> str:
    """One line for people: `SPAN is read by spandrel (chaiNNer), neosr (span), traiNNer-redux (span)`."""
    name = network.architecture
    match _shown_by_tensors(network):
        case None:
            return f"{name} with these settings is read by no other program: its tensors do not tell them"
        case own:
            others = [f"{program} ({names[name]})" for program, names in NAMES.items() if name in names]
            readers = ", ".join((["spandrel (chaiNNer)"] if own else []) + others)
            unread = "" if own else ", not by spandrel (chaiNNer)"
            return f"{name} is read by {readers or 'no other program'}{unread}"


def opens_in_spandrel(network: Network) -> bool:
    """Whether spandrel, and so chaiNNer, makes this network of its tensors alone."""
    return _shown_by_tensors(network) is True


def _shown_by_tensors(network: Network) -> bool | None:
    """Whether spandrel itself makes this network of its tensors alone; None: nor does anyone, as settings differ."""
    state = {name: tensor.detach().cpu() for name, tensor in network.module.state_dict().items()}
    support = architecture_of(state)
    if support is None:
        return None
    with torch.random.fork_rng(devices=[]):  # a module is initialised randomly before it gets its tensors
        try:
            found = support.architecture.load(state)
        except Exception:  # what is guessed wrongly can fail in any way
            return None
    if constructors.settings_of(found.model) != network.settings:  # some, as of dropping out, do not count
        ours = network.with_module(deepcopy(network.module).cpu())
        image_NCHW = torch.rand(1, 3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
        theirs = Network(described(found.model, found), network.architecture, {}, {}).unclamped(image_NCHW)
        if not torch.allclose(ours.unclamped(image_NCHW), theirs, rtol=0, atol=1e-4):
            return None
    return type(support.architecture).__module__.startswith("spandrel.")
