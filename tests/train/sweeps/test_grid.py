"""Grids of settings: what is a value, which runs come of it, what they are called."""

from pathlib import Path

import pytest

from dukd_cache.system.errors import SettingError
from dukd_train.sweeps.grid import parse_axis, points


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text("all:\n  cache: c\n  student: {settings: {channels: 8, blocks: 1}}\n")
    return path


@pytest.mark.parametrize(
    ("word", "key", "values"),
    [
        ("seed=0,1,2", "seed", ("0", "1", "2")),
        ("method = kd, dukd", "method", ("kd", "dukd")),
        ("seed=7", "seed", ("7",)),
        ("patch=null,24", "patch", ("null", "24")),
        ("optimizer.betas=[[0.9, 0.99], [0.9, 0.999]]", "optimizer.betas", ("[0.9, 0.99]", "[0.9, 0.999]")),
        ("student.settings=[{blocks: 1}, {}]", "student.settings", ('{"blocks": 1}', "{}")),
        ('cache=["a,b", ü]', "cache", ('"a,b"', '"ü"')),
    ],
)
def test_an_axis(word: str, key: str, values: tuple[str, ...]) -> None:
    axis = parse_axis(word)
    assert (axis.key, axis.values) == (key, values)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("seed", "`grid=seed`: expected key=a,b,c"),
        ("=1", "`grid==1`: expected key=a,b,c"),
        ("seed=", "`grid=seed=`: a value is empty"),
        ("seed=1,,2", "a value is empty"),
        ("seed=1,2,1", "`grid=seed=1,2,1`: 1 is there twice"),
        ("seed=[1, 2", "is not a YAML list"),
        ("seed=[]", "no value"),
    ],
)
def test_what_is_no_axis(word: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_axis(word)
    assert message in str(caught.value)


def test_all_combinations_with_their_names(file: Path) -> None:
    grid = ["method=kd,dukd", "student.settings.channels=4,6"]
    found = points(file, "all", ["steps=5"], grid)
    assert [point.name for point in found] == [
        "method=kd,channels=4",
        "method=kd,channels=6",
        "method=dukd,channels=4",
        "method=dukd,channels=6",
    ]
    last = found[-1].config
    assert (last.method, last.steps, last.student.settings) == ("dukd", 5, {"channels": 6, "blocks": 1})


def test_the_grid_wins_over_set(file: Path) -> None:
    assert [point.config.seed for point in points(file, "all", ["seed=9"], ["seed=1,2"])] == [1, 2]


def test_names_are_those_of_folders(file: Path) -> None:
    words = ["student.settings=[{channels: 4}, {channels: 6, blocks: 2}]", "cache=a/b,c", "optimizer.lr=1e-4"]
    assert [point.name for point in points(file, "all", [], words)] == [
        "settings=channels-4,cache=a-b,lr=1e-4",
        "settings=channels-4,cache=c,lr=1e-4",
        "settings=channels-6-blocks-2,cache=a-b,lr=1e-4",
        "settings=channels-6-blocks-2,cache=c,lr=1e-4",
    ]


def test_keys_that_end_alike_are_written_out(file: Path) -> None:
    (point,) = points(file, "all", [], ["augment.base.hflip=0", "augment.zoom.hflip=1"])
    assert point.name == "augment.base.hflip=0,augment.zoom.hflip=1"


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["method=kd,dukt"], "method=dukt: "),
        (["seed=0,-1"], "seed=-1: "),
        (["sead=0"], "sead=0: unknown setting 'sead': did you mean 'seed'?"),
        ([f"seed={'[' * 3000}"], f"`grid=seed={'[' * 74}…`: '{'[' * 79}…' is not a YAML list"),
        (["seed=0,1", "seed=2"], "`grid=seed`: given twice"),
        (
            ["optimizer.lr=1e-4,0.0001"],
            "`grid`: lr=1e-4 and lr=0.0001 are one run: their settings are equal",
        ),
        (["batch=[4, 4.0]"], "`grid`: batch=4 and batch=4.0 are one run: their settings are equal"),
        (["cache=a/b,a-b"], "`grid`: two values make the same name, cache=a-b"),
        ([f"cache={'x' * 300}"], "`grid`: too long"),
    ],
)
def test_every_point_is_validated(file: Path, grid: list[str], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        points(file, "all", [], grid)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
