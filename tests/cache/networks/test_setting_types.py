"""Values of the kind that a constructor takes, of which none checks anything."""

import json
from typing import Any

import pytest

from dukd_cache import networks
from dukd_cache.networks import constructors
from dukd_cache.networks.setting_types import checked
from dukd_cache.system.errors import SettingError

KINDS = {name: constructor for name, (_, constructor) in constructors.constructors().items()}


@pytest.mark.parametrize("name", KINDS)
def test_every_default_is_of_its_own_kind(name: str) -> None:
    defaults = constructors.defaults(KINDS[name])
    assert defaults
    for key, default in defaults.items():
        if default is not constructors.REQUIRED:
            for given in (default, json.loads(json.dumps(default))):
                assert checked(name, KINDS[name], key, default, given) == given


@pytest.mark.parametrize("name", KINDS)
def test_text_is_no_truth_value_and_no_number(name: str) -> None:
    for key, default in constructors.defaults(KINDS[name]).items():
        if isinstance(default, bool | int | float):
            with pytest.raises(SettingError, match=f"setting '{key}' of {name}: expected .*, got 'no'"):
                checked(name, KINDS[name], key, default, "no")


@pytest.mark.parametrize(
    ("name", "key", "given", "line"),
    [
        ("SwinIR", "ape", "no", "expected true or false, got 'no', which is text in YAML 1.2: write ape: false"),
        ("SwinIR", "ape", "On", "expected true or false, got 'On', which is text in YAML 1.2: write ape: true"),
        ("SwinIR", "ape", 0, "expected true or false, got 0: write ape: false"),
        ("SwinIR", "ape", "maybe", "expected true or false, got 'maybe'"),
        ("SPAN", "norm", None, "expected true or false, got null: write norm: false"),
        ("SwinIR", "embed_dim", "60", "expected a number, got '60', which is text: write embed_dim: 60 without quotes"),
        ("EDSR", "channels", "many", "expected a whole number, got 'many'"),
        ("EDSR", "channels", 16.5, "expected a whole number, got 16.5"),
        ("EDSR", "channels", True, "expected a whole number, got true"),
        ("EDSR", "res_scale", float("nan"), "expected a number, got nan"),
        ("SwinIR", "depths", 6, "expected a list, each a whole number, got 6: write depths: [6, …], one for each"),
        ("SwinIR", "depths", [6, "a"], "expected a list, each a whole number, got [6, 'a']"),
        ("SwinIR", "upsampler", False, "expected text, got false"),
    ],
)  # fmt: skip
def test_another_kind_is_refused_with_what_to_write(name: str, key: str, given: Any, line: str) -> None:
    with pytest.raises(SettingError) as caught:
        networks.build(name, 2, {key: given})
    assert str(caught.value) == f"setting {key!r} of {name}: {line}"


def test_words_have_a_nearest_one() -> None:
    with pytest.raises(SettingError, match="unknown upsampler of HAT 'pixelshufle': did you mean 'pixelshuffle'"):
        networks.build("HAT", 2, {"upsampler": "pixelshufle"})


@pytest.mark.parametrize(
    ("name", "key", "given", "taken"),
    [
        ("EDSR", "channels", 16.0, 16),
        ("SwinIR", "embed_dim", 60.0, 60),
        ("DITN", "ffn_expansion_factor", 2.66, 2.66),
        ("SwinIR", "img_size", [64, 64], [64, 64]),
        ("EDSR", "res_scale", 1, 1),
        ("HAT", "compress_ratio", 3.0, 3),
        ("SwinIR", "qk_scale", 0.5, 0.5),
        ("ESRGAN", "shuffle_factor", None, None),
    ],
)
def test_numbers_that_mean_the_same(name: str, key: str, given: Any, taken: Any) -> None:
    found = checked(name, KINDS[name], key, constructors.defaults(KINDS[name])[key], given)
    assert (found, type(found)) == (taken, type(taken))


@pytest.mark.parametrize(
    ("name", "settings", "begin"),
    [
        ("SPAN", {"channels": 16, "blocks": 4}, "unknown setting of SPAN 'channels', one of EDSR's: "),
        ("SwinIR", {"blocks": 4}, "unknown setting of SwinIR 'blocks', one of EDSR's: "),
        ("EDSR", {"depths": [6], "window_size": 8, "ape": False}, "unknown setting of EDSR 'depths', one of "),
    ],
)
def test_settings_of_another_architecture(name: str, settings: dict[str, Any], begin: str) -> None:
    with pytest.raises(SettingError) as caught:
        networks.build(name, 2, settings)
    assert str(caught.value).startswith(begin)
    assert ": `student.settings={}` drops what a file has (valid: " in str(caught.value)
