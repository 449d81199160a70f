"""HTML pages: what they hold, what a real browser shows of them, and what axe-core finds wrong with them."""

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_WORDS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
_WORDS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

_TELL = """axe.run({resultTypes: ["violations"]}).then(found => parent.postMessage({
  violations: found.violations.map(each => [each.id, ...each.nodes.map(node => node.html)]),
  width: document.documentElement.scrollWidth}, "*"))"""

_HEAR = """onmessage = told => document.querySelector("pre").textContent = JSON.stringify(told.data)"""


VOID = {"meta", "img", "br", "link", "input", "hr"}


@dataclass
class Page(HTMLParser):
    """What a page holds; refuses tags that do not nest."""

    open: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        assert tag != "img" or dict(attrs).get("alt")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if text := data.strip():
            self.texts.append(text)


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


@dataclass(frozen=True)
class Browser:
    """Chromium, with a folder for what it keeps."""

    folder: Path

    def photograph(self, page: Path, width: int, height: int, dark: bool = False) -> np.ndarray:
        """What a window of some size shows: u8 [H,W,3]."""
        shot = self.folder / f"{width}.png"
        self._run(f"--screenshot={shot}", f"--window-size={width},{height}", page.as_uri(), dark=dark)
        with Image.open(shot) as picture:
            return np.asarray(picture.convert("RGB"))

    def violations(self, page: Path, width: int, dark: bool = False) -> list[list[str]]:
        """What axe-core finds wrong, each a rule and the elements that break it; also if a page is wider than `width`.

        The page lies in a frame, as no window is narrower than 500 pixels.
        """
        found = find_spec("axe_core_python")
        if found is None or found.origin is None:
            pytest.skip("no axe-core-python here")
        axe = Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
        inner, outer = self.folder / "inner.html", self.folder / "outer.html"
        text = page.read_text(encoding="utf-8")
        inner.write_text(text.replace("</body>", f"<script>{axe};{_TELL}</script></body>"), encoding="utf-8")
        frame = f'<iframe src="inner.html" style="width: {width}px; height: 900px; border: 0"></iframe>'
        outer.write_text(f"<!DOCTYPE html><body>{frame}<pre></pre><script>{_HEAR}</script>", encoding="utf-8")
        shown = self._run("--virtual-time-budget=60000", "--dump-dom", outer.as_uri(), dark=dark)
        told = re.search("<pre>(.+?)</pre>", shown, re.DOTALL)
        assert told, "axe-core has not ended"
        answer = json.loads(html.unescape(told[1]))
        return [*answer["violations"], *([["wider than the window", str(answer["width"])]] * (answer["width"] > width))]

    def _run(self, *words: str, dark: bool) -> str:
        profile = [f"--user-data-dir={self.folder / 'profile'}"]
        scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
        environment = {**os.environ, "HOME": str(self.folder)}
        command = [str(CHROMIUM), *_WORDS, *profile, *scheme, *words]
        done = subprocess.run(command, capture_output=True, timeout=180, check=True, env=environment)
        return done.stdout.decode("utf-8", "replace")
