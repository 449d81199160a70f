"""HTML pages: what they hold, what a real browser shows of them, and what axe-core finds wrong with them."""

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
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

_TELL = """addEventListener("load", () => setTimeout(() => axe.run({resultTypes: ["violations"]}).then(found =>
  parent.postMessage({
    violations: found.violations.map(each => [each.id, ...each.nodes.map(node => node.html)]),
    width: document.documentElement.scrollWidth}, "*")), 1000))"""
"""A page's own scripts have a second to do what they do; the browser's time is virtual."""

_HEAR = """const told = [], frame = document.querySelector("iframe");
onmessage = heard => {
  told.push(heard.data);
  if (told.length < frame.dataset.count) frame.src = told.length + ".html";
  else document.querySelector("pre").textContent = JSON.stringify(told); }"""


VOID = {"meta", "img", "br", "link", "input", "hr", "wbr"}


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
        """What axe-core finds wrong, each a rule and the elements that break it; also a page wider than `width`."""
        (found,) = self.all_violations([page], width, dark)
        return found

    def all_violations(self, pages: Sequence[Path], width: int, dark: bool = False) -> list[list[list[str]]]:
        """Those of each page, in one process; pages may need files beside them.

        A page lies in a frame, as no window is narrower than 500 pixels.
        """
        found = find_spec("axe_core_python")
        if found is None or found.origin is None:
            pytest.skip("no axe-core-python here")
        axe = Path(found.origin).with_name("axe.min.js").as_uri()
        for number, page in enumerate(pages):
            text = page.read_text(encoding="utf-8").replace("<head>", f'<head><base href="{page.as_uri()}">', 1)
            text = text.replace("</body>", f'<script src="{axe}"></script><script>{_TELL}</script></body>')
            (self.folder / f"{number}.html").write_text(text, encoding="utf-8")
        size = f"width: {width}px; height: 900px; border: 0"
        frame = f'<iframe src="0.html" data-count="{len(pages)}" style="{size}"></iframe>'
        outer = self.folder / "outer.html"
        outer.write_text(f"<!DOCTYPE html><body>{frame}<pre></pre><script>{_HEAR}</script>", encoding="utf-8")
        shown = self._run("--virtual-time-budget=600000", "--dump-dom", outer.as_uri(), dark=dark)
        told = re.search("<pre>(.+?)</pre>", shown, re.DOTALL)
        assert told, "axe-core has not ended"
        return [
            [*each["violations"], *([["wider than the window", str(each["width"])]] * (each["width"] > width))]
            for each in json.loads(html.unescape(told[1]))
        ]

    def _run(self, *words: str, dark: bool) -> str:
        profile = [f"--user-data-dir={self.folder / 'profile'}"]
        scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
        environment = {**os.environ, "HOME": str(self.folder)}
        command = [str(CHROMIUM), *_WORDS, *profile, *scheme, *words]
        done = subprocess.run(command, capture_output=True, timeout=600, check=True, env=environment)
        return done.stdout.decode("utf-8", "replace")
