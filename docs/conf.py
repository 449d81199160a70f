"""The documentation site: `make docs` builds it of the Markdown beside this file, of docstrings and of the commands."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.docutils import SphinxDirective
from typer.cli import get_docs_for_click
from typer.main import get_command

import dukd_cache
import dukd_cache.cli
import dukd_train.cli

project = "dukd"
version = release = dukd_cache.__version__
author = project_copyright = "the dukd maintainers"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebook holds its outputs; a test runs it
nb_output_stderr = "remove"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
default_role = "code"  # of docstrings

html_theme = "pydata_sphinx_theme"
html_title = "dukd"
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("tutorial", "results", "benchmarks")}  # they have no pages below them
html_theme_options = {"secondary_sidebar_items": ["page-toc"], "show_prev_next": True, "footer_end": []}
copybutton_exclude = ".linenos, .gp, .go"


class Commands(SphinxDirective):
    """What `--help` says of a program and of each of its commands."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        modules: dict[str, Any] = {"dukd-cache": dukd_cache.cli, "dukd-train": dukd_train.cli}
        name = self.arguments[0]
        program = get_command(modules[name].app)
        text = get_docs_for_click(obj=program, ctx=program.context_class(program), name=name, indent=1)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _at_home(_app: Sphinx, _page: str, source: list[str]) -> None:
    """The README is the first page of a Git host; the site has its own."""
    source[0] = source[0].replace("](../README.md)", "](index.md)")


def _google(_app: Sphinx, kind: str, _name: str, _what: object, _options: object, lines: list[str]) -> None:
    """Sections of docstrings. Napoleon's own hook takes what an attribute's text has before a colon for a type."""
    if kind not in ("attribute", "property"):
        lines[:] = GoogleDocstring(lines, Config(), what=kind).lines()
    elif lines[0].startswith("Alias for field"):
        lines.clear()


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", _google)
    app.connect("source-read", _at_home)
    app.add_directive("commands", Commands)
