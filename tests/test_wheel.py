"""What people install: a wheel has all that the programs read, and works away from the repository."""

import os
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from tests.conftest import PROJECT

from dukd_cache.system.extras import needs

SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, as an installer lays them down."""
    wheel = pytest.importorskip("hatchling.builders.wheel")
    place = tmp_path_factory.mktemp("wheel")
    (built,) = wheel.WheelBuilder(str(PROJECT)).build(directory=str(place), versions=["standard"])
    assert Path(built).stat().st_size < 2_000_000
    with ZipFile(built) as file:
        file.extractall(place / "packages")
    return place / "packages"


def test_it_has_every_file_of_both_packages(installed: Path) -> None:
    for root in (PROJECT / "pipeline" / "dukd_cache", PROJECT / "trainer" / "dukd_train"):
        here = {path.relative_to(root.parent) for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"}
        assert {str(path) for path in here if not (installed / path).is_file()} == set()
        assert {path.suffix for path in here} >= {".py", ".yaml", ".typed"}
    assert {path.name for path in installed.iterdir()} >= {"dukd_cache", "dukd_train"}


def test_it_says_what_it_is(installed: Path) -> None:
    (metadata,) = installed.glob("dukd-*.dist-info/METADATA")
    text = metadata.read_text(encoding="utf-8")
    assert f"\nVersion: {SETTINGS['version']}\n" in text
    assert "\nAuthor: dukd maintainers\n" in text
    assert "Provides-Extra: azure" in text


def test_both_programs_work_away_from_the_repository(installed: Path, tmp_path: Path) -> None:
    (points,) = installed.glob("dukd-*.dist-info/entry_points.txt")
    parser = ConfigParser()
    parser.read(points)
    scripts = dict(parser["console_scripts"])
    assert scripts.keys() == {"dukd-cache", "dukd-train"}

    def said(program: str, *lines: str) -> tuple[str, list[str]]:
        """What a program prints for these lines of words, in one process; its errors, and exit codes after them."""
        module, function = scripts[program].split(":")
        code = f"""if True:
            import sys, {module} as module
            assert module.__file__.startswith({str(installed)!r})
            for line in {lines!r}:
                sys.argv = ["program", *line.split()]
                try:
                    module.{function}()
                except SystemExit as end:
                    print(end.code, file=sys.stderr)"""
        environment = os.environ | {"PYTHONPATH": str(installed)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr.splitlines()

    printed, errors = said("dukd-cache", "--help", "presets dukd")
    assert printed.endswith((PROJECT / "pipeline/dukd_cache/presets/dukd.yaml").read_text(encoding="utf-8"))
    assert errors == ["0", "0"]
    printed, errors = said("dukd-train", "presets", "run --config small --set seed=-1 --out run")
    assert "\nedsr_x4 " in printed
    assert errors[0] == "0"
    assert errors[1].startswith("dukd-train: setting seed: expected a whole number of at least 0")
    assert errors[2:] == ["2"]


def test_the_packages_that_a_message_names_are_those_of_an_extra() -> None:
    def names(extra: str) -> list[str]:
        return [re.split(r"[\[><=]", each)[0] for each in SETTINGS["optional-dependencies"][extra]]

    for extra in ("s3", "gcs", "azure", "perceptual", "export", "ray", "dvc"):
        for package in names(extra):
            assert needs(package) == f"needs {package}: pip install {' '.join(names(extra))}"
    assert needs("tensorboard") == "needs tensorboard: pip install tensorboard"


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["title"], cited["version"], cited["license"]) == ("dukd", SETTINGS["version"], SETTINGS["license"])
    assert cited["references"][0]["identifiers"][0]["value"] == "2309.14162"
