"""Tiles against whole images: plain convolutions, windows, networks that see everything, memory that runs out."""

from collections.abc import Callable

import pytest
import torch
from tests.train.nearest import Nearest
from torch import Tensor

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.system.errors import ImageError, SettingError
from dukd_train.scoring.self_ensemble import SelfEnsemble
from dukd_train.scoring.tiles import AUTO_SIDE, Span, Tiled, seen_beyond, spans, tile_side


@pytest.mark.parametrize(
    ("length", "side", "overlap", "multiple", "expected"),
    [
        (10, 10, 0, 1, [Span(0, 0, 10, 10)]),
        (10, 6, 1, 1, [Span(0, 0, 4, 5), Span(3, 4, 8, 9), Span(7, 8, 10, 10)]),
        (9, 4, 0, 1, [Span(0, 0, 4, 4), Span(4, 4, 8, 8), Span(8, 8, 9, 9)]),
        (40, 32, 5, 8, [Span(0, 0, 16, 24), Span(8, 16, 32, 40), Span(24, 32, 40, 40)]),
        (40, 31, 0, 8, [Span(0, 0, 24, 24), Span(24, 24, 40, 40)]),
    ],
)
def test_spans(length: int, side: int, overlap: int, multiple: int, expected: list[Span]) -> None:
    assert spans(length, side, overlap, multiple) == expected


def test_tiles_that_are_flipped_end_at_windows_counted_from_the_end() -> None:
    found = spans(45, 40, 5, 8, flipped=True)
    assert found == [Span(0, 0, 24, 29), Span(16, 24, 45, 45)]
    assert all((45 - span.stop) % 8 == 0 for span in found)
    with pytest.raises(SettingError, match="expected at least 95"):
        Tiled(Nearest(), 94, 32, 16, flipped=True)  # whatever the sides of the image
    assert spans(63, 95, 32, 16, flipped=True)


def test_tiles_within_their_overlap_are_refused() -> None:
    with pytest.raises(SettingError, match="tiles of 64 pixels that overlap by 30 on each side: expected at least 80"):
        spans(100, 64, 30, 16)
    with pytest.raises(SettingError, match="tiles of 20"):
        Tiled(Nearest(), 20, 10)


def picture(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def built(architecture: str, scale: int, settings: dict[str, object]) -> Network:
    """With noise in every weight, so that none is a plain copy of its input."""
    torch.manual_seed(3)
    network = networks.build(architecture, scale, settings)
    for parameter in network.module.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape)
    return network


@pytest.mark.parametrize(("height", "width"), [(5, 5), (33, 17), (64, 50), (1, 90), (90, 2)])
@pytest.mark.parametrize("overlap", [0, 3])
def test_every_pixel_is_answered_once_in_its_place(height: int, width: int, overlap: int) -> None:
    image = picture(height, width, count=2)
    assert torch.equal(Tiled(Nearest(3), 16, overlap)(image), Nearest(3)(image))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiles_of_convolutions_equal_the_whole_image(scale: int) -> None:
    network = built("EDSR", scale, {"channels": 6, "blocks": 2})
    image = picture(53, 71)
    overlap = 1 + 2 * 2 + 1 + 2  # each convolution reaches one pixel; those after a pixel shuffle together two at most
    assert seen_beyond(network, overlap) == 0
    tiled = Tiled(network, 32, overlap)(image)
    assert (tiled - network(image)).abs().max() < 1e-5
    assert seen_beyond(network, 2) > 0.5
    assert (Tiled(network, 32, 2)(image) - network(image)).abs().max() > 1 / 255


def test_windows_lie_as_in_the_whole_image() -> None:
    settings = {"embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 8, "mlp_ratio": 1}
    network = built("SwinIR", 2, settings | {"upsampler": "pixelshuffledirect"})
    multiple = network.window
    assert multiple == 8
    image = picture(45, 70)
    tiled = Tiled(network, 56, 24, multiple)(image)
    assert seen_beyond(network, 24, multiple) < 0.01
    assert (tiled - network(image)).abs().max() < 1e-4
    astray = Tiled(network, 59, 25, 1)(image)
    assert (astray - network(image)).abs().max() > 1e-3


def test_an_ensemble_of_windows_is_that_of_the_whole_image() -> None:
    settings = {"embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 8, "mlp_ratio": 1}
    network = built("SwinIR", 2, settings | {"upsampler": "pixelshuffledirect"})
    image = picture(20, 70)
    whole = SelfEnsemble(network)(image)
    tiled = Tiled(SelfEnsemble(network), 63, 24, 8, flipped=True)(image)
    assert (tiled - whole).abs().max() < 1e-4
    astray = Tiled(SelfEnsemble(network), 63, 24, 8)(image)
    assert (astray - whole).abs().max() > 1e-3


def test_pooling_over_the_whole_image_is_noticed() -> None:
    network = built("RCAN", 2, {"n_feats": 8, "n_resgroups": 1, "n_resblocks": 1, "reduction": 4})
    assert seen_beyond(network, 40) > 0.01
    image = picture(40, 90)
    image[..., 45:] = 0
    assert (Tiled(network, 60, 20)(image) - network(image)).abs().max() > 1e-4


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError,
        lambda: RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
    ],
)
def test_tiles_are_halved_until_they_fit(error: Callable[[], Exception]) -> None:
    network = Nearest(room=130 * 130, error=error)
    image = picture(300, 200)
    assert torch.equal(Tiled(network, "auto", 32)(image), Nearest()(image))
    failed = [height * width > network.room for height, width in network.asked]
    assert sum(failed) == 2, "once whole, once with tiles of 150"
    assert network.asked[-1] != (300, 200)


def test_auto_takes_small_images_whole_and_large_ones_in_tiles() -> None:
    network = Nearest()
    Tiled(network, "auto", 32)(picture(40, AUTO_SIDE + 10))
    assert network.asked == [(40, AUTO_SIDE + 10)]
    network.asked.clear()
    Tiled(network, "auto", 32)(picture(AUTO_SIDE + 10, AUTO_SIDE + 10))
    assert len(network.asked) == 4
    assert max(map(max, network.asked)) <= AUTO_SIDE


def test_out_of_memory_is_one_line_where_nothing_smaller_may_be_tried() -> None:
    for side, room in ((0, 100), (64, 100), ("auto", 10)):
        with pytest.raises(ImageError, match="out of memory with tiles of"):
            Tiled(Nearest(room=room), side, 4)(picture(90, 80))  # type: ignore[arg-type]


def test_other_errors_are_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="broken"):
        Tiled(Nearest(room=1, error=lambda: RuntimeError("broken")), "auto", 4)(picture(9, 9))


def test_what_a_user_writes() -> None:
    assert [tile_side(text) for text in ("auto", "0", "192")] == ["auto", 0, 192]
    for text in ("-1", "1.5", "Auto", ""):
        with pytest.raises(SettingError, match="expected auto, 0"):
            tile_side(text)
