"""Lay out the photographs that come inside scikit-image: some to train on, others held out.

Run by `dvc repro`. Nothing is downloaded.
"""

import argparse
import shutil
from importlib.resources import files
from pathlib import Path

TRAIN = ("astronaut.png", "motorcycle_left.png")
HELDOUT = ("chelsea.png", "coffee.png", "rocket.jpg")


def main() -> None:
    """Copy both lists below `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to make; it gets train/ and heldout/")
    out = parser.parse_args().out
    photographs = Path(str(files("skimage"))) / "data"
    for folder, names in (("train", TRAIN), ("heldout", HELDOUT)):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(photographs / name, out / folder / name)


if __name__ == "__main__":
    main()
