"""How Sphinx makes the site from this folder; `make docs` runs it."""

from __future__ import annotations

import doctest
import os
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for folder in ("docs/_ext", "examples", "examples/gallery"):
    sys.path.insert(0, str(ROOT / folder))
os.environ["COLUMNS"] = "96"  # width of the commands' help

from sphinx.application import Sphinx  # noqa: E402

import wsss_nonsalient  # noqa: E402

project = "wsss_nonsalient"
author = "The wsss_nonsalient developers"
copyright = author  # noqa: A001
release = version = wsss_nonsalient.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "myst_nb",
    "bigram_search",
    "command_help",
]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst", "gallery/*.ipynb", "gallery/*.py"]
templates_path = ["_templates"]
nitpicky = True
nitpick_ignore_regex = [  # of other projects, whose inventories are online
    ("py:.*", r"(torch|np|numpy|matplotlib|collections|os|pathlib|typing_extensions)\..*"),
    ("py:class", r"(Tensor|Axes|Figure|PathLike|Self|AnyPath|ImageLabels)"),
    ("py:class", r"wsss_nonsalient\..*\.(AnyPath|ImageLabels|Reduction|Normalization|Quartile)"),
]
suppress_warnings = ["config.cache"]  # sphinx-gallery's options hold functions

# Pages: MyST Markdown. The one with code cells, the tutorial, is executed.
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 1200
nb_execution_show_tb = True
nb_output_stderr = "remove"  # progress bars
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"


# Reference.
def own_members(full_name: str) -> list[str]:
    """Public members of a class that this package defines, in the order of the source."""
    module, _, name = full_name.rpartition(".")
    family = getattr(import_module(module), name).__mro__
    own = [vars(one) for one in family if one.__module__.startswith(project)]
    return [m for members in own for m in members if m[0] != "_" and m != "extra_repr"]


autosummary_context = {"own_members": own_members}
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
maximum_signature_line_length = 76
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
doctest_global_setup = """
import torch
from wsss_nonsalient import *
from wsss_nonsalient.io import *
from wsss_nonsalient.plot import *
from pathlib import Path
"""
doctest_default_flags = doctest.NORMALIZE_WHITESPACE
trim_doctest_flags = True

# Gallery.
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "ignore_pattern": r"small_network",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("wsss_nonsalient",),
    "backreferences_dir": "gallery/backreferences",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "plot_gallery": True,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "image_scrapers": ("matplotlib",),
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Look.
html_theme = "furo"
html_favicon = "_static/favicon.svg"
html_title = f"wsss_nonsalient {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_language = "bigrams"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

QUALITY_PAGES = ("trust", "properties", "mutation", "dependencies")


def list_quality_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Put those pages into the contents that are there."""
    there = [name for name in QUALITY_PAGES if (Path(app.srcdir) / f"{name}.md").is_file()]
    if page == "index":
        source[0] = source[0].replace("QUALITY_PAGES", "\n".join(there))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", list_quality_pages)
