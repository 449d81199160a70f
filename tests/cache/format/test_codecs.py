"""Pixels to bytes and back."""

import io
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.cache.samples import photo

from dukd_cache.format.codecs import CODECS as CODECS_OF_STORES
from dukd_cache.format.codecs import Codec, decode
from dukd_cache.format.header import Encoding
from dukd_cache.format.record import Array, Dtype, Pixels
from dukd_cache.system.arrays import U8

CODECS = CODECS_OF_STORES["webdataset"]
SUFFIXES = {"webp": "webp", "png": "png", "raw": "npy"}


def encode(pixels: Pixels, name: str) -> tuple[Codec, bytes]:
    """As a store with that codec writes `pixels`."""
    dtype: Dtype = pixels.dtype.name  # type: ignore[assignment]
    codec = Encoding(store="webdataset", codec=name).codec_of(dtype)
    return codec, codec.encode(pixels, False)


shapes = st.integers(1, 9).map(lambda side: (side, side, 3))


@pytest.mark.parametrize("codec", CODECS)
@given(pixels=arrays(np.uint8, shapes))
def test_uint8_comes_back_unchanged(codec: str, pixels: U8) -> None:
    chosen, content = encode(pixels, codec)
    assert chosen.suffix == SUFFIXES[codec]
    decoded = decode(chosen, content, Array(side=len(pixels), dtype="uint8"))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, pixels)


@pytest.mark.parametrize("codec", CODECS)
@given(
    pixels=arrays(np.float16, shapes, elements=st.floats(0, 1, width=16))
    | arrays(np.float32, shapes, elements=st.floats(0, 1, width=32))
)
def test_floating_point_comes_back_unchanged_whatever_the_codec(codec: str, pixels: Pixels) -> None:
    chosen, content = encode(pixels, codec)
    assert chosen.suffix == "npy"
    dtype: Dtype = "float16" if pixels.dtype == np.float16 else "float32"
    decoded = decode(chosen, content, Array(side=len(pixels), dtype=dtype))
    assert decoded.dtype == pixels.dtype
    assert np.array_equal(decoded, pixels)


@pytest.mark.parametrize("codec", CODECS)
def test_photographs_and_noise_of_a_teachers_answer_size(codec: str) -> None:
    for pixels in (photo(192, 192), np.random.default_rng(0).integers(0, 256, (192, 192, 3), np.uint8)):
        assert np.array_equal(decode(*encode(pixels, codec), Array(side=192, dtype="uint8")), pixels)


@pytest.mark.parametrize("codec", CODECS)
def test_a_slice_of_an_image_is_encoded_as_its_copy_is(codec: str) -> None:
    image = photo(40, 40)
    assert encode(image[5:20, 7:22], codec) == encode(image[5:20, 7:22].copy(), codec)


def test_compression_compresses() -> None:
    sizes = {codec: len(encode(photo(96, 96), codec)[1]) for codec in CODECS}
    assert max(sizes["webp"], sizes["png"]) < 0.9 * sizes["raw"]


@pytest.mark.parametrize("codec", CODECS)
def test_damaged_bytes_are_no_pixels(codec: str) -> None:
    chosen, content = encode(photo(24, 24), codec)
    for damaged in (b"", b"nonsense", content[: len(content) // 2]):
        with pytest.raises(ValueError):  # noqa: PT011
            decode(chosen, damaged, Array(side=24, dtype="uint8"))


@pytest.mark.parametrize(
    "kind", [Array(side=25, dtype="uint8"), Array(side=1024, dtype="uint8"), Array(side=24, dtype="float16")]
)
@pytest.mark.parametrize("codec", CODECS)
def test_pixels_of_another_kind_are_refused(codec: str, kind: Array) -> None:
    with pytest.raises(ValueError, match="expected"):
        decode(*encode(photo(24, 24), codec), kind)


def test_bytes_of_another_codec_are_refused() -> None:
    content = encode(photo(24, 24), "png")[1]
    for name, says in [
        ("webp", "not a plain lossless WebP"),
        ("raw", "not version 1.0"),
    ]:
        with pytest.raises(ValueError, match=says):
            decode(CODECS[name], content, Array(side=24, dtype="uint8"))


def test_pickles_are_not_run() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([object()], dtype=object), allow_pickle=True)
    for content in (buffer.getvalue(), pickle.dumps([1])):
        with pytest.raises(ValueError, match=r"expected|not version"):
            decode(CODECS["raw"], content, Array(side=1, dtype="uint8"))
