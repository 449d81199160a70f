"""What lies below `tests` is run: pytest leaves out folders of some names unless it is told otherwise."""

from fnmatch import fnmatch

import pytest
from tests.conftest import PROJECT


def test_no_folder_of_tests_is_left_out(pytestconfig: pytest.Config) -> None:
    folders = {path.parent.name for path in (PROJECT / "tests").rglob("test_*.py")}
    left_out = pytestconfig.getini("norecursedirs")
    assert "build" in folders
    assert [name for name in folders if any(fnmatch(name, pattern) for pattern in left_out)] == []
