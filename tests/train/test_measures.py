"""Measures: against NumPy, by hand, and unchanged by what augmentation does to output and target."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from dukd_cache.pictures.symmetries import CHANNEL_ORDERS, Element, apply, repeated
from dukd_train.measures import MEASURES, OF_PLAIN_PICTURES, amplitude, fft, l1

PLAIN = [by for by in MEASURES if by not in OF_PLAIN_PICTURES]
"""lpips has its tests beside the metric's."""


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        ([0.0, 1.0], torch.tensor([0, 255], dtype=torch.uint8), 0.0),
        ([0.5, 0.5], torch.tensor([0, 255], dtype=torch.uint8), 0.5),
        ([0.0, 0.0], torch.tensor([51, 102], dtype=torch.uint8), 0.3),
        ([1.2, -0.4], torch.tensor([255, 0], dtype=torch.uint8), 0.3),  # a student is not clamped
        ([0.25, 0.5], torch.tensor([0.5, 0.0]), 0.375),
        ([0.25, 0.5], torch.tensor([0.5, 0.0], dtype=torch.float16), 0.375),
    ],
)
def test_l1_by_hand(output: list[float], target: torch.Tensor, expected: float) -> None:
    assert float(l1(torch.tensor(output), target)) == pytest.approx(expected, abs=1e-7)


def test_l1_is_computed_in_float32() -> None:
    """Half precision of a student or a teacher must not round the loss."""
    target = torch.full((1, 3, 64, 64), 0.1, dtype=torch.float16)
    found = l1(torch.full((1, 3, 64, 64), 0.2, dtype=torch.bfloat16), target)
    assert found.dtype == torch.float32
    exact = float(torch.tensor(0.2, dtype=torch.bfloat16)) - float(torch.tensor(0.1, dtype=torch.float16))
    assert float(found) == pytest.approx(exact, abs=1e-7)


def test_gradient_is_the_sign_over_the_count() -> None:
    output = torch.tensor([0.9, 0.1, 0.6, 0.2], requires_grad=True)
    l1(output, torch.tensor([0, 255, 51, 102], dtype=torch.uint8)).backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert output.grad.tolist() == [0.25, -0.25, 0.25, -0.25]


def spectrum(image: np.ndarray) -> np.ndarray:
    """The Fourier transform as two products with matrices of waves."""
    rows, columns = (np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) for n in image.shape[-2:])
    found: np.ndarray = rows @ image @ columns
    return found


def steepness(image: np.ndarray) -> np.ndarray:
    """Twice the length of NumPy's gradient, which halves the difference of neighbours; without the outermost pixels."""
    found: np.ndarray = np.sqrt(sum((2 * each) ** 2 for each in np.gradient(image, axis=(-2, -1))) + 1e-6)
    return found[..., 1:-1, 1:-1]


def reference(by: str, output: np.ndarray, target: np.ndarray) -> float:
    """The measures once more, in float64."""
    difference = output - (target / 255 if target.dtype == np.uint8 else target)
    if by == "fft":
        return float(np.abs(spectrum(difference)).mean())
    if by == "amplitude":
        return float(np.abs(np.abs(spectrum(output)) - np.abs(spectrum(output - difference))).mean())
    if by == "gradient":
        return float(np.abs(steepness(output) - steepness(output - difference)).mean())
    values = {"l1": np.abs(difference), "mse": difference**2, "charbonnier": np.sqrt(difference**2 + 1e-6)}
    return float(values[by].mean())


@pytest.mark.parametrize("by", PLAIN)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_measures_are_what_numpy_makes_of_them(by: str, dtype: str) -> None:
    rng = np.random.default_rng(7)
    output = rng.uniform(-0.1, 1.1, (2, 3, 10, 7)).astype(np.float32)
    target = rng.integers(0, 256, output.shape, dtype=np.uint8)
    target = target if dtype == "uint8" else (target / 255).astype(dtype)
    found = MEASURES[by](torch.from_numpy(output), torch.from_numpy(target))
    assert (found.dtype, found.shape) == (torch.float32, ())
    assert float(found) == pytest.approx(reference(by, output.astype(np.float64), target), rel=1e-5)


@pytest.mark.parametrize("by", PLAIN)
def test_measures_have_gradients_everywhere(by: str) -> None:
    target = torch.randint(256, (1, 3, 8, 8), dtype=torch.uint8)
    output = (target / 255).requires_grad_()  # no difference anywhere: where √ and |·| have a corner
    MEASURES[by](output, target).backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert output.grad.isfinite().all()


@given(
    st.sampled_from(PLAIN),
    st.sampled_from([torch.uint8, torch.float32]),
    st.integers(0, 2**31),
    st.builds(Element, *[st.booleans()] * 4, st.integers(0, len(CHANNEL_ORDERS) - 1)),
)
@settings(max_examples=300, deadline=None)
def test_what_is_measured_is_the_same_of_augmented_pictures(
    by: str, dtype: torch.dtype, seed: int, element: Element
) -> None:
    """measure(S(F(x)), F(T(x))) = measure(F⁻¹(S(F(x))), T(x)), of every F that a record may be augmented by."""
    random = torch.Generator().manual_seed(seed)
    output = torch.rand(2, 3, 8, 8, generator=random) * 1.2 - 0.1
    target = torch.randint(0, 256, output.shape, generator=random, dtype=torch.uint8)
    target = target if dtype == torch.uint8 else target / 255
    how = repeated(element, 2)
    after = MEASURES[by](apply(how, output), apply(how, target))
    assert float(after) == pytest.approx(float(MEASURES[by](output, target)), rel=2e-5)


def test_mse_is_torchs() -> None:
    output, target = torch.rand(2, 2, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    assert torch.equal(MEASURES["mse"](output, target), functional.mse_loss(output, target))


def test_fft_weighs_a_phase_by_its_amplitude() -> None:
    rng = np.random.default_rng(3)
    output, target = rng.uniform(0, 1, (2, 1, 1, 6, 9))
    (a, b), (ours, theirs) = ([part(spectrum(each)) for each in (output, target)] for part in (np.abs, np.angle))
    expected = np.sqrt((a - b) ** 2 + 4 * a * b * np.sin((ours - theirs) / 2) ** 2).mean()
    assert float(fft(torch.from_numpy(output), torch.from_numpy(target))) == pytest.approx(expected, rel=1e-5)


def test_amplitudes_are_the_same_wherever_things_are() -> None:
    target = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    moved = target.roll((3, 2), (-2, -1))
    assert float(amplitude(moved, target)) < 1e-5 < 0.1 < float(l1(moved, target))
    assert float(amplitude(moved, 0.5 * target)) < float(fft(moved, 0.5 * target))
