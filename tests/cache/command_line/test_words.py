"""Names of settings, as errors have them, become the options of a command."""

import pytest

from dukd_cache.command_line.words import NAMES_SETTINGS, in_options

OPTIONS = {"patch": "--patch", "on_bad_image": "--on-bad-image", "suffix": "--format", "lr_template": "--lr-template"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("`patch`: must be even", "--patch: must be even"),
        ("use `patch=8` or less", "use --patch 8 or less"),
        ("(`on_bad_image=skip` does)", "(--on-bad-image skip does)"),
        ("`suffix=a b`: no", "--format a b: no"),
        ("`lr_template='{stem}=x'`: no", "--lr-template '{stem}=x': no"),
        ("`views.zoom_out.patch=4`, `views.zoom_in`", "--zoom-out-patch 4, --zoom-in"),
        ("`student.settings={}` drops them", "--set student.settings={} drops them"),
        ("patch: a folder", "patch: a folder"),
        ("`weights_only=True`, `git lfs pull`, `size`", "`weights_only=True`, `git lfs pull`, `size`"),
    ],
)
def test_in_options(line: str, said: str) -> None:
    assert in_options(line, OPTIONS) == said


def test_in_settings_where_another_program_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMES_SETTINGS, "1")
    line = "use `patch=8` or less, or one of `views.base`, `views.zoom_in` (`on_bad_image=skip` does)"
    assert in_options(line, OPTIONS) == line.replace("`", "")
