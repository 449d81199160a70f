"""NumPy's Philox streams, many keys at once: `Generator(Philox(key=k)).random(n)` for thousands of `k` in one call.

Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Making one NumPy generator an
image and view takes most of the time of a plan of a million images; the streams themselves are cheap.
"""

import hashlib

import numpy as np

from dukd_cache.system.arrays import F64, U64

_MULTIPLY = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_WEYL = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B))
_ROUNDS = 10
_WORDS = 4
"""Numbers a block."""

_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def key_of(name: str) -> bytes:
    """The key of the stream of random numbers called `name`."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def stream(name: str) -> np.random.Generator:
    """The stream of random numbers called `name`, as NumPy's generator."""
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key_of(name), np.uint64)))


def uniform(key_N2: U64, start: int, stop: int) -> F64:
    """Numbers `start` to `stop` in [0,1) of the streams of N keys: float64 [N, stop − start]."""
    first = start // _WORDS
    last = -(-stop // _WORDS)
    shape = (len(key_N2), last - first)
    key = [np.repeat(key_N2[:, word, None], shape[1], axis=1) for word in (0, 1)]
    # NumPy counts before it draws: its first block is that of counter 1.
    counter = np.arange(first + 1, last + 1, dtype=np.uint64)
    words = [np.broadcast_to(counter, shape), *(np.zeros(shape, np.uint64) for _ in range(3))]
    for number in range(_ROUNDS):
        if number:
            key = [word + weyl for word, weyl in zip(key, _WEYL, strict=True)]
        high_0, low_0 = _product(words[0], _MULTIPLY[0])
        high_1, low_1 = _product(words[2], _MULTIPLY[1])
        words = [high_1 ^ words[1] ^ key[0], low_1, high_0 ^ words[3] ^ key[1], low_0]
    drawn = np.stack(words, axis=-1).reshape(shape[0], -1)[:, start - first * _WORDS : stop - first * _WORDS]
    return (drawn >> np.uint64(11)).astype(np.float64) * np.float64(2.0**-53)


def _product(a: U64, b: np.uint64) -> tuple[U64, U64]:
    """The upper and lower 64 bits of a·b, of which uint64 holds only the lower."""
    a_high, a_low, b_high, b_low = a >> _HALF, a & _LOW, b >> _HALF, b & _LOW
    middle = a_high * b_low + ((a_low * b_low) >> _HALF)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (other >> _HALF), a * b
