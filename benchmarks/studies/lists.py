"""The material of the studies: a folder with lists of N photographs, and the data beside them as `data`.

    python benchmarks/studies/lists.py $DUKD_DATA build/studies && cd build/studies

Each list is the beginning of the next: the first N of the 400 photographs of BSDS400 in an order drawn with seed 0; the
last one has all of them and SunHays80's.
"""

import random
import sys
from pathlib import Path

COUNTS = (4, 8, 16, 50, 200, 400)


def main(data: Path, out: Path) -> None:
    """Write `lists/N.txt` and the link `data` into `out`."""
    (out / "lists").mkdir(parents=True, exist_ok=True)
    link = out / "data"
    if not link.is_symlink():
        link.symlink_to(data.resolve())
    photographs = sorted((data / "BSDS400").glob("*.jpg"))
    more = sorted((data / "SunHays80").glob("*.webp"))
    random.Random(0).shuffle(photographs)
    for chosen in [*(photographs[:count] for count in COUNTS), photographs + more]:
        lines = [f"../data/{path.relative_to(data)}\n" for path in chosen]
        (out / "lists" / f"{len(chosen)}.txt").write_text("".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
