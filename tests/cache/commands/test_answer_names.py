"""What answers are called where the user does not say it, and what they cannot be called."""

from typing import Any

import pytest

from dukd_cache.commands.answer_names import by_name, named_after
from dukd_cache.commands.config import CacheConfig
from dukd_cache.system.errors import SettingError


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, []),
        ("a/B.pth", ["teacher"]),
        (["a/B.pth"], ["teacher"]),
        (["A.pth", "CRAFT_X4.pt"], ["a", "craft_x4"]),
        (["one/net.pth", "two/net.pth", "three/net_2.pth"], ["net", "net_2", "net_2_2"]),
        (["001_SwinIR-M_x4.pth", "мережа.pth"], ["t_001_swinir_m_x4", "t"]),
        (["mean.pth", "truth.pth"], ["mean_2", "truth_2"]),
        ([f"{'x' * 40}.pth", f"{'x' * 50}.pth"], ["x" * 28, f"{'x' * 28}_2"]),
        ({"b": "A.pth", "a": "B.pth"}, ["b", "a"]),
    ],
)
def test_names(given: Any, names: list[str]) -> None:
    found = by_name(given)
    assert isinstance(found, dict)
    assert [*found] == names
    if isinstance(given, list):
        assert [*found.values()] == given
    assert [*CacheConfig(hr="x", teacher=given).teacher] == names  # type: ignore[arg-type]


def test_names_that_are_there_are_not_taken() -> None:
    assert named_after(["net.pth"], ["net", "net_2"]) == ["net_3"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["a.pth", "a.pth"], "setting teacher: a.pth is given twice"),
        ({"A": "a.pth"}, "setting teacher: expected a name of small letters, digits and _ for its answers, got 'A'"),
        ({"mean": "a.pth"}, "setting teacher: no answers can be called 'mean': that means something else"),
        (3, "setting teacher: expected a path, settings by name, a list, each a path or null, got 3"),
        (["a.pth", 3], "setting teacher.t_3: expected a path, got 3"),
    ],
)
def test_mistakes_are_one_line(given: Any, says: str) -> None:
    with pytest.raises(SettingError) as caught:
        CacheConfig(hr="x", teacher=given)  # type: ignore[arg-type]
    assert str(caught.value) == says
