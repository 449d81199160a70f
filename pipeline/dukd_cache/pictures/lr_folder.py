"""Where the LR images lie of those who bring their own."""

import os
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath

from dukd_cache.pictures.finding import SUFFIXES
from dukd_cache.system.errors import ImageError, SettingError

TEMPLATE = "{stem}x{scale}"
"""How LR files are usually named; so does `dukd-cache degrade`. Those without `x{scale}` are found, too."""


@dataclass(frozen=True)
class LrFolder:
    """A folder of LR files, named after HR files.

    Raises:
        SettingError: the template lacks the stem, or names something else than stem and scale.
    """

    root: Path
    template: str = TEMPLATE
    """File name without its suffix; `{stem}` is the HR file's, `{scale}` the scale."""

    def __post_init__(self) -> None:
        if "{stem}" not in self.template or re.search("[{}]", re.sub(r"{stem}|{scale}", "", self.template)):
            raise SettingError(
                "expected a name made of {stem} and {scale}, like {stem}x{scale}", f"`lr_template={self.template!r}`"
            )

    def find(self, name: PurePath, scale: int) -> Path:
        """The LR file of the HR file `name`, a path below the HR folder.

        It is looked for in the same subfolder of `root` first (where `dukd-cache degrade` puts it), then at its top;
        with the HR file's suffix first, then with any other, in any case. With the usual template a file with the HR
        file's own name is found where there is none with the scale in it. Letters may be encoded as one sign or as
        several (NFC, NFD), as some systems change that in names when they copy files.

        Raises:
            ImageError: there is none.
            SettingError: there is no such folder.
        """
        stems = [self.template.format(stem=name.stem, scale=scale)]
        if self.template == TEMPLATE:
            stems.append(name.stem)
        for stem in stems:
            if found := self._named(name, stem):
                return found
        if not self.root.is_dir():
            raise SettingError(
                f"expected a folder of LR images, found {'a file' if self.root.exists() else 'nothing'}", self.root
            )
        alike = self._named(name, name.stem)
        hint = f"; found {alike.name}: for such names give `lr_template={{stem}}`" if alike else ""
        expected = " or ".join(f"{stem}.*" for stem in stems)
        raise ImageError(f"no LR image for {name.name}{hint}", self.root / name.parent / expected)

    def _named(self, name: PurePath, stem: str) -> Path | None:
        """The file `stem`, with any suffix, for the HR file `name`."""
        for folder in dict.fromkeys((self.root / name.parent, self.root)):
            for suffix in (name.suffix, *SUFFIXES, *map(str.upper, SUFFIXES)):
                if (candidate := folder / f"{stem}{suffix}").is_file():
                    return candidate
        return self._spelled_otherwise(name.parent, stem) or self._spelled_otherwise(PurePath(), stem)

    def _spelled_otherwise(self, below: PurePath, stem: str) -> Path | None:
        folder = self.root
        for part in below.parts:
            there = _names(folder).get(_composed(part), ())
            folder /= next((name for name in there if (folder / name).is_dir()), part)
        there = [name for suffix in SUFFIXES for name in _names(folder).get(_composed(stem) + suffix, ())]
        return next((folder / name for name in there if (folder / name).is_file()), None)


def _names(folder: Path) -> dict[str, list[str]]:
    """What a folder holds, by names composed and with suffixes in lower case."""
    try:
        return _listed(folder, folder.stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=8)
def _listed(folder: Path, _changed_ns: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(_composed(name))
        found[stem + suffix.lower()].append(name)
    return dict(found)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
