"""Many streams at once are NumPy's own streams, number by number."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dukd_cache.plan.philox import uniform

words = st.integers(0, 2**64 - 1)
numbers = st.integers(0, 40)


@given(keys=st.lists(st.tuples(words, words), min_size=1, max_size=5), start=numbers, more=numbers)
def test_equals_numpys_generator(keys: list[tuple[int, int]], start: int, more: int) -> None:
    found = uniform(np.array(keys, np.uint64), start, start + more)
    assert found.shape == (len(keys), more)
    for key, row in zip(keys, found, strict=True):
        generator = np.random.Generator(np.random.Philox(key=np.array(key, np.uint64)))
        assert row.tolist() == generator.random(start + more)[start:].tolist()
