"""The documentation site that `make docs` built: axe-core finds nothing wrong with its pages."""

from pathlib import Path

import pytest
from tests.browser import Browser
from tests.conftest import PROJECT

SITE = PROJECT / "build/docs"

EVERY = [
    f"{path.relative_to(PROJECT / 'docs').with_suffix('')}"
    for path in sorted([*PROJECT.glob("docs/*.md"), *PROJECT.glob("docs/notebooks/*.ipynb")])
]
KINDS = ["tutorial", "settings", "api", "notebooks/own_loop"]
"""Pictures, wide tables, docstrings, outputs; code in all languages."""


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
@pytest.mark.parametrize(
    "names", [pytest.param(KINDS, id="kinds"), pytest.param(EVERY, id="every", marks=pytest.mark.slow)]
)
def test_axe_finds_nothing_wrong(names: list[str], width: int, dark: bool, browser: Browser) -> None:
    pages = [SITE / f"{name}.html" for name in names]
    if not all(map(Path.exists, pages)):
        pytest.skip("no site here: make docs")
    found = browser.all_violations(pages, width, dark)
    assert {name: wrong for name, wrong in zip(names, found, strict=True) if wrong} == {}
