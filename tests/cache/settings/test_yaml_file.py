"""YAML as settings have it: what words mean, names given twice, `--set`, and files that are no settings."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dukd_cache.settings import yaml_file
from dukd_cache.system.errors import SettingError


def read(folder: Path, text: str | bytes, section: str | None = None) -> dict[str, Any]:
    path = folder / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return yaml_file.read(path, section, ["cache"])


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-4", 1e-4),
        ("1E+3", 1000.0),
        ("-2.5e2", -250.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("250_000", 250_000),
        ("010", 10),
        ("-7", -7),
        (".inf", math.inf),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("'1'", "1"),
        ("", None),
        ("~", None),
        ("null", None),
        ("~/cache", "~/cache"),
        ("[1, 2e0]", [1, 2.0]),
    ],
)
def test_words_mean_what_yaml_1_2_says(tmp_path: Path, word: str, value: object) -> None:
    assert read(tmp_path, f"a: {word}") == {"a": value}
    assert type(read(tmp_path, f"a: {word}")["a"]) is type(value)


def test_names_are_text(tmp_path: Path) -> None:
    assert read(tmp_path, "14: {2024: x}\nno: 1\nnull: 2\n1e3: 3") == {
        "14": {"2024": "x"},
        "no": 1,
        "null": 2,
        "1e3": 3,
    }


def test_merged_groups_may_say_a_name_again(tmp_path: Path) -> None:
    text = "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, y: 3}\nd: {<<: *b}"
    found = read(tmp_path, text)
    assert found == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 2, "y": 3}, "d": {"x": 2}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_editors(tmp_path: Path, encoding: str) -> None:
    assert read(tmp_path, "a: é".encode(encoding)) == {"a": "é"}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.sampled_from(["1e-4", "no", "on", "010", "1_0", "2024-01-01", "1:30", "~", ".5", "null", "<<", "="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(), values, max_size=3))
def test_what_is_dumped_is_read_back(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> None:
    assert read(tmp_path_factory.getbasetemp(), yaml_file.dump(settings)) == settings


def test_other_readers_understand_a_dump() -> None:
    settings = {"a": "no", "b": "1e-4", "c": 1e-5, "d": [True, None], "e": "2024-01-01", "f": "on"}
    assert yaml.safe_load(yaml_file.dump(settings)) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\nb: }", "not a YAML file (line 2: expected the node content, but found '}')"),
        ("a:\n\tb: 1\n", "not a YAML file (line 2: a tab, where YAML wants spaces)"),
        ("a: 1\n b: 2", "not a YAML file (line 2: mapping values are not allowed here)"),
        ("a: 'x", "not a YAML file (line 1: found unexpected end of stream)"),
        ("steps: 1\nbatch: 2\nsteps: 3", "not a YAML file (line 3: 'steps' is there already, in line 1)"),
        ("loss: {kd: 1, rec: 2,\n kd: 1}", "not a YAML file (line 2: 'kd' is there already, in line 1)"),
        ("[a]: 1", "not a YAML file (line 1: expected a name before ':')"),
        ("a: 1\n---\nb: 2", "not a YAML file (line 2: but found another document)"),
        (
            "a: !!python/object/apply:os.mkdir [x]",
            "not a YAML file (line 1: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.mkdir')",
        ),
        (b"a: \x00", "not a YAML file (unacceptable character #x0000: special characters are not allowed in"),
        (b"a: \xff\xfe", "not a YAML file (unacceptable character #x00ff: invalid start byte in"),
        ("- 1\n- 2\n", "expected settings by name, found list"),
        ("", "expected settings by name, found nothing"),
        ("# all: 1\n", "expected settings by name, found nothing"),
        ("just words", "expected settings by name, found str"),
        (
            "name: x\nscale: 4\nnetwork_g: {type: EDSR}\ndatasets: {train: {}}\ntrain: {total_iter: 3}",
            "an option file of BasicSR, neosr or traiNNer (network_g, datasets, train); "
            "docs/settings.md has what each option is called here",
        ),
        (
            "datasets: {val: {}}\nnetwork_g: {type: EDSR}",
            "an option file of BasicSR, neosr or traiNNer (network_g, datasets); ",
        ),
    ],
)
def test_unusable_files_are_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'c.yaml'}: {message}")
    assert "\n" not in str(caught.value)


def test_a_forgotten_section(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        read(tmp_path, "cache: {patch: 32}\nlarge: {cache: c}\nnote: x\nsmall: {cache: c}")
    assert str(caught.value) == f"{tmp_path / 'c.yaml'}: holds settings in large and small: give `section=large`"


def test_no_file_a_folder_and_toml(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    for name, message in {
        "none.yaml": "no such config file",
        "x.yaml": "not a YAML file (Is a directory)",
        "option.toml": "a TOML file; settings are written in YAML, see docs/settings.md",
    }.items():
        with pytest.raises(SettingError) as caught:
            yaml_file.read(tmp_path / name, None, ["cache"])
        assert str(caught.value) == f"{tmp_path / name}: {message}"


def test_a_section_of_a_file_that_holds_others_too(tmp_path: Path) -> None:
    text = "cache: {patch: 32}\ntrain: {steps: 3}\ndatasets: {x: 1}\nnote: none\nempty:\n"
    assert read(tmp_path, text, "train") == {"steps": 3}
    for section, message in {
        "trian": "unknown section 'trian': did you mean 'train'? (valid: cache, datasets, empty, note, train)",
        "note": "section note: expected settings by name, found str",
        "empty": "section empty: expected settings by name, found nothing",
    }.items():
        with pytest.raises(SettingError) as caught:
            read(tmp_path, text, section)
        assert str(caught.value) == f"{tmp_path / 'c.yaml'}: {message}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("steps=7", {"steps": 7, "loss": {"kd": 1}, "optimizer": None, "betas": [1]}),
        ("loss.rec=5e-1", {"steps": 5, "loss": {"kd": 1, "rec": 0.5}, "optimizer": None, "betas": [1]}),
        ("optimizer.lr=1e-3", {"steps": 5, "loss": {"kd": 1}, "optimizer": {"lr": 1e-3}, "betas": [1]}),
        ("a.b.c=d=e", {"steps": 5, "loss": {"kd": 1}, "optimizer": None, "betas": [1], "a": {"b": {"c": "d=e"}}}),
        (" loss . kd =", {"steps": 5, "loss": {"kd": None}, "optimizer": None, "betas": [1]}),
        ("betas=[1, {x: 2}]", {"steps": 5, "loss": {"kd": 1}, "optimizer": None, "betas": [1, {"x": 2}]}),
    ],
)
def test_set_changes_what_it_names(override: str, expected: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"steps": 5, "loss": {"kd": 1}, "optimizer": None, "betas": [1]}
    yaml_file.change(settings, override, {})
    assert settings == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("loss.kd.by=mse", {"kd": {"weight": 1, "by": "mse"}, "rec": {"by": "fft"}}),
        ("loss.rec=5", {"kd": 1, "rec": {"by": "fft", "weight": 5}}),
        ("loss.rec={weight: 5}", {"kd": 1, "rec": {"weight": 5}}),
        ("loss.kd=3", {"kd": 3, "rec": {"by": "fft"}}),
    ],
)
def test_a_value_stands_for_one_setting_of_its_group(override: str, expected: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"loss": {"kd": 1, "rec": {"by": "fft"}}}
    term = {"type": "object", "properties": {"weight": {}, "by": {}}, "short": "weight"}
    schema = {"properties": {"loss": {"additionalProperties": {"anyOf": [{"type": "number"}, term]}}}}
    yaml_file.change(settings, override, schema)
    assert settings == {"loss": expected}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "expected key=value, like optimizer.lr=2e-4"),
        ("=3", "expected key=value, like optimizer.lr=2e-4"),
        (".=3", "expected key=value, like optimizer.lr=2e-4"),
        ("loss..kd=3", "expected key=value, like optimizer.lr=2e-4"),
        ("loss.=3", "expected key=value, like optimizer.lr=2e-4"),
        ("steps.x=3", "steps is a value, not a group of settings"),
        ("loss.kd.x=3", "loss.kd is a value, not a group of settings"),
        ("betas.0=3", "betas is a list: give it whole, betas=[…]"),
        ("steps=[", "'[' is not a YAML value"),
        ("steps={a: 1, a: 2}", "'{a: 1, a: 2}' is not a YAML value"),
        ("steps=*a", "'*a' is not a YAML value"),
    ],
)
def test_set_refuses(override: str, message: str) -> None:
    settings = {"steps": 5, "loss": {"kd": 1}, "betas": [1]}
    with pytest.raises(SettingError) as caught:
        yaml_file.change(settings, override, {})
    assert str(caught.value) == f"`overrides={override}`: {message}"


@pytest.mark.parametrize("brackets", ["[" * 2500, "[" * 2500 + "]" * 2500, "{a: " * 2500])
def test_hundreds_of_brackets_are_one_short_line(brackets: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"`overrides=loss=.* is not a YAML value$") as caught:
        yaml_file.change({}, f"loss={brackets}", {})
    assert len(str(caught.value)) < 250
    with pytest.raises(SettingError, match=r"not a YAML file .brackets or groups within each other, hundreds deep"):
        read(tmp_path, f"loss: {brackets}")


def test_set_leaves_a_group_alone_that_shares_an_anchor(tmp_path: Path) -> None:
    settings = read(tmp_path, "base: &often {hflip: 0.9}\nzoom: *often\n")
    yaml_file.change(settings, "zoom.hflip=0.1", {})
    assert settings == {"base": {"hflip": 0.9}, "zoom": {"hflip": 0.1}}
