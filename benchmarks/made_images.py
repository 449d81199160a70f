"""Images that look somewhat like photographs to a codec: a spectrum of 1/f, edges, and some grain."""

from pathlib import Path

import numpy as np
from PIL import Image


def made_image(width: int, height: int, seed: int) -> np.ndarray:
    """u8 [height,width,3]: noise whose amplitude falls with the frequency, as in photographs, cut by edges."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    shared = _coloured_noise(random, frequency, (height, width))
    y, x = np.mgrid[0:height, 0:width]
    slope = random.uniform(-1, 1)
    edge = 0.6 * (y > slope * x + random.uniform(0.2, 0.8) * height)
    channels = [shared + 0.3 * _coloured_noise(random, frequency, (height, width)) + edge for _ in range(3)]
    pixels = 110 + 35 * np.stack(channels, axis=-1) + random.normal(0, 1.5, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def save_made_images(folder: Path, count: int, width: int, height: int) -> Path:
    """`count` files in `folder`, JPEG as cameras make them, of at most 64 different contents."""
    folder.mkdir(parents=True)
    originals = min(count, 64)
    for number in range(originals):
        Image.fromarray(made_image(width, height, number)).save(folder / f"made_{number:06d}.jpg", quality=95)
    for number in range(originals, count):
        (folder / f"made_{number:06d}.jpg").hardlink_to(folder / f"made_{number % originals:06d}.jpg")
    return folder


def _coloured_noise(random: np.random.Generator, frequency: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    spectrum = np.fft.rfft2(random.normal(size=shape)) / frequency**1.2
    noise = np.fft.irfft2(spectrum, shape)
    return np.asarray(noise / noise.std())
