"""Configure Sphinx. `make docs` builds the site from the Markdown files of this folder and the docstrings.

Before each build, `generate.py` writes the tables of models and parameters to `_generated`. Links to files outside of
this folder, such as the examples, become links to the repository.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import tomllib
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.util import logging

from modelstudio_core import __version__

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]

project = PROJECT["name"]
author = "the contributors"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_generated", "langchain-provider.md"]  # the latter is a text for LangChain's site
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"

default_role = "code"  # single backticks of docstrings
# the signature of a pydantic class lists all fields, which have a page of their own
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Key init args", "params_style")] + [
    (f"Key init args for {name}", "params_style") for name in generate.GROUPS
]

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["models.js"]
html_theme_options = {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}

_LINK = re.compile(r"(?<=\]\()\.\./[^)#\s]+")


def _link_to_repository(_app: Sphinx, page: str, source: list[str]) -> None:
    """Replace relative links to files outside of this folder, and warn if a file does not exist."""

    def replaced(match: re.Match[str]) -> str:
        target = (HERE / page).parent.joinpath(match[0]).resolve()
        if target.is_relative_to(HERE):
            return match[0]
        if not target.exists():
            logging.getLogger(__name__).warning("link to a missing file: %s", match[0], location=page)
        path = target.relative_to(ROOT)
        return f"{REPOSITORY}/{'tree' if target.is_dir() else 'blob'}/main/{path.as_posix()}"

    source[0] = _LINK.sub(replaced, source[0])


def _short_signature(
    _app: Sphinx, _what: str, _name: str, thing: Any, _options: Any, _signature: str | None, _returns: str | None
) -> tuple[str, None] | None:
    if isinstance(thing, type) and issubclass(thing, BaseModel):
        return "(**parameters)", None
    return None


def setup(app: Sphinx) -> None:
    """Write the generated pages, and register the hooks."""
    generate.write(HERE / "_generated")
    app.connect("source-read", _link_to_repository)
    app.connect("autodoc-process-signature", _short_signature)
