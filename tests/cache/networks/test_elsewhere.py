"""Which other programs read a network: what is said is what spandrel does."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from spandrel import MAIN_REGISTRY, ModelLoader  # type: ignore[import-untyped]
from tests.conftest import PROJECT

from dukd_cache import networks
from dukd_cache.networks.elsewhere import NAMES, read_by

GUESSED = " with these settings is read by no other program: its tensors do not tell them"

TINY: list[tuple[str, Mapping[str, Any], str]] = [
    ("EDSR", {"channels": 8, "blocks": 1}, " is read by BasicSR (EDSR), not by spandrel (chaiNNer)"),
    ("EDSR", {"channels": 8, "blocks": 1, "img_range": 1.0}, GUESSED),
    (
        "Compact",
        {"num_feat": 8, "num_conv": 2},
        " is read by spandrel (chaiNNer), BasicSR (SRVGGNetCompact), neosr (compact), traiNNer-redux (compact)",
    ),
    ("SPAN", {"feature_channels": 8}, " is read by spandrel (chaiNNer), neosr (span), traiNNer-redux (span)"),
    ("SPAN", {"feature_channels": 8, "img_range": 1.0}, GUESSED),
    (
        "SwinIR",  # what it drops in training leaves no trace, and changes no answer
        {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 2], "drop_path_rate": 0.3},
        " is read by spandrel (chaiNNer), BasicSR (SwinIR), traiNNer-redux (swinir_m)",
    ),
    ("SwiftSRGAN", {"num_channels": 8, "num_blocks": 1}, " is read by spandrel (chaiNNer)"),
]


def built(architecture: str, settings: Mapping[str, Any]) -> networks.Network:
    torch.manual_seed(1)
    return networks.build(architecture, 2, settings)


@pytest.mark.parametrize(("architecture", "settings", "line"), TINY)
def test_a_line_says_who_reads_it(architecture: str, settings: Mapping[str, Any], line: str) -> None:
    network = built(architecture, settings)
    drawn = torch.get_rng_state()
    assert read_by(network) == architecture + line
    assert torch.equal(torch.get_rng_state(), drawn)
    assert network.module.training


@pytest.mark.parametrize(("architecture", "settings", "line"), TINY)
def test_plain_spandrel_agrees(architecture: str, settings: Mapping[str, Any], line: str) -> None:
    plain = type(MAIN_REGISTRY)()
    plain.add(*(each for each in MAIN_REGISTRY if type(each.architecture).__module__.startswith("spandrel.")))
    network, image_NCHW = built(architecture, settings), torch.rand(1, 3, 16, 24)
    try:
        found = ModelLoader(registry=plain).load_from_state_dict(dict(network.module.state_dict())).eval()
        alike = torch.allclose(found.model(image_NCHW), network.unclamped(image_NCHW), atol=1e-5)
    except Exception:
        alike = False
    assert alike == ("by spandrel (chaiNNer)" in line.replace("not by", ""))


def test_names_are_of_architectures_that_there_are() -> None:
    for names in NAMES.values():
        assert names.keys() <= {*networks.architectures()}


def test_the_table_of_the_page_says_the_same() -> None:
    page = (PROJECT / "docs/using.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (?:yes|no) \| (\S+) \| (\S+) \| (\S+) \|$", page, re.MULTILINE)
    assert len(rows) > 10
    for architecture, *cells in rows:
        assert cells == [names.get(architecture, "–") for names in NAMES.values()]
