"""The material of the studies: a folder with lists of N photographs, and the data beside them as `data`.

    python benchmarks/studies/lists.py $DUKD_DATA build/studies && cd build/studies

Which photographs they are matters more than a training's seed: lists are drawn three times. `N.txt`, `N-1.txt` and
`N-2.txt` are the first N of the 400 photographs of BSDS400 in orders drawn with seeds 0, 1 and 2, so that each list of
a draw is the beginning of its next; `480.txt` has all of them and SunHays80's, `others.txt` those of it that `8.txt`
has not. `sizes/8` holds the photographs of `8.txt`, each at three smaller sizes, too, as Real-ESRGAN's authors add them
(scripts/generate_multiscale_DF2K.py).
"""

import random
import sys
from pathlib import Path

from PIL import Image

COUNTS = (4, 8, 16, 50, 200)
DRAWS = 3
SIZES = (0.8, 0.6, 0.45)


def main(data: Path, out: Path) -> None:
    """Write `lists` and the link `data` into `out`."""
    (out / "lists").mkdir(parents=True, exist_ok=True)
    link = out / "data"
    if not link.is_symlink():
        link.symlink_to(data.resolve())
    photographs = sorted((data / "BSDS400").glob("*.jpg"))
    lists = {"480": photographs + sorted((data / "SunHays80").glob("*.webp"))}
    for draw in range(DRAWS):
        order = photographs.copy()
        random.Random(draw).shuffle(order)
        lists |= {f"{count}-{draw}" if draw else str(count): order[:count] for count in COUNTS}
    lists["others"] = [path for path in lists["480"] if path not in lists["8"]]
    for name, chosen in lists.items():
        lines = [f"../data/{path.relative_to(data)}\n" for path in chosen]
        (out / "lists" / f"{name}.txt").write_text("".join(lines))
    for photograph in lists["8"]:
        add_sizes(photograph, out / "sizes" / "8")


def add_sizes(photograph: Path, folder: Path) -> None:
    """Write it into `folder`, and once for each of `SIZES`."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(photograph) as opened:
        image = opened.convert("RGB")
    image.save(folder / f"{photograph.stem}.png")
    for size in SIZES:
        width, height = (round(side * size) for side in image.size)
        image.resize((width, height), Image.Resampling.LANCZOS).save(folder / f"{photograph.stem}T{size}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
