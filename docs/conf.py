"""Sphinx configuration: `make docs` builds the site without a network, warnings as errors."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import sphinx_autosummary_accessors

import xdownscale

sys.modules["xdownscale.cordex"] = xdownscale.cordex  # it lives elsewhere, under this public name
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # mathml.py
os.environ.setdefault("XDOWNSCALE_WEIGHTS", "")  # tutorials leave no weights of regridding behind

project = "xdownscale"
author = "The xdownscale developers"
copyright = "2025-2026, the xdownscale developers"
version = release = xdownscale.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "mathml",  # of this folder
    "sphinx_autosummary_accessors",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "numpydoc",
]
exclude_patterns = [
    "_build",
    "conf.py",
    "mathml.py",
    "inventories",
    "gallery_source",
    "images/*.py",
    "**/sg_execution_times.rst",
    *(f"gallery/*.{end}" for end in ("py", "ipynb", "zip", "json", "md5")),
]
templates_path = ["_templates", sphinx_autosummary_accessors.templates_path]
default_role = "any_or_code"
html_math_renderer = "mathml"
nitpicky = False

# Pages and tutorials
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "executed")
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}  # the API is generated as the first

# The API
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

_INVENTORIES = {
    "python": "https://docs.python.org/3/",
    "xarray": "https://docs.xarray.dev/en/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "dask": "https://docs.dask.org/en/stable/",
}
intersphinx_mapping = {
    name: (address, str(HERE / "inventories" / f"{name}.inv"))
    for name, address in _INVENTORIES.items()
}

sphinx_gallery_conf = {
    "examples_dirs": "gallery_source",
    "gallery_dirs": "gallery",
    "filename_pattern": "plot_",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e6,
    "remove_config_comments": True,
    "write_computation_times": False,
    "copyfile_regex": "",
    "capture_repr": (),
    "image_scrapers": ("matplotlib",),
}

# The look
html_theme = "pydata_sphinx_theme"
html_title = "xdownscale"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
html_sidebars = {"index": [], "gallery/**": []}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Links of pages that are also read on a code host, to files outside this folder
_OUTSIDE = {
    "CONTRIBUTING.md": "community/contributing.md",
    "CODE_OF_CONDUCT.md": "community/code_of_conduct.md",
    "SECURITY.md": "community/security.md",
    "SUPPORT.md": "community/support.md",
    "CHANGELOG.md": "community/changelog.md",
    "README.md": "index.md",
    "CITATION.cff": "community/citing.md",
    "examples/01_quickstart.py": "tutorials/quickstart.py",
    "examples/02_iberia.py": "tutorials/examples.md",
    "examples/03_judge_a_field.py": "tutorials/without_truth.py",
}


def _links(app: object, name: str, source: list[str]) -> None:
    """Point links to files outside this folder to the pages that stand for them."""
    up = "../" * name.count("/")
    for outside, inside in _OUTSIDE.items():
        pattern = rf"\]\((?:\.\./)+{re.escape(outside)}(#[\w-]+)?\)"
        source[0] = re.sub(pattern, lambda m, i=inside: f"]({up}{i}{m[1] or ''})", source[0])
    folder = (HERE / name).parent

    def shown(match: re.Match[str]) -> str:
        """Leave the words of a link to a file that is no page."""
        target = (folder / match[2].partition("#")[0]).resolve()
        return match[0] if target.is_relative_to(HERE) else match[1]

    source[0] = re.sub(r"\[([^\]]+)\]\(((?:\.\./)+[^)\s]+)\)", shown, source[0])


def _included(app: object, path: object, name: str, source: list[str]) -> None:
    """Do the same in files that a page includes, whose links start from the top folder."""
    text = re.sub(r"\]\(docs/", "](../", source[0])
    for outside, inside in _OUTSIDE.items():
        text = text.replace(f"]({outside}", f"](../{inside}")
    source[0] = text


def _public() -> dict[str, list[str]]:
    """Return the whole names of what the API pages list, by their last part."""
    found: dict[str, list[str]] = {}
    for page in (HERE / "reference" / "api").glob("*.md"):
        for block in page.read_text("utf-8").split("currentmodule:: ")[1:]:
            module, _, rest = block.partition("\n")
            for name in re.findall(r"^   (\w[\w.]*)$", rest.partition("```")[0], re.MULTILINE):
                if module != "xarray":
                    found.setdefault(name, []).append(f"{module}.{name}")
    return found


PUBLIC = _public()
ORDER = ("xdownscale.geostat", "xdownscale.skill", "xdownscale.grids")  # where several have a name


def _whole_name(text: str, page: str) -> str | None:
    """Return the public object that a name on a page means: of the page's own module first."""
    known = {name for names in PUBLIC.values() for name in names}
    if text.partition(".")[0] in _INVENTORIES:
        return text
    for name in (text, f"xdownscale.{text}"):
        if name in known:
            return name
    candidates = PUBLIC.get(text, [])
    own = page.rpartition("/")[2].rpartition(".")[0]
    own = own.replace("xarray.DataArray", "xdownscale").replace("xarray.Dataset", "xdownscale")
    for module in (own, *ORDER):
        if f"{module}.{text}" in candidates:
            return f"{module}.{text}"
    return candidates[0] if candidates else None


def _any_or_code(name, rawtext, text, lineno, inliner, options=None, content=None):
    """Link a name in single backticks where it is public; else show it as code."""
    from docutils import nodes
    from sphinx.addnodes import pending_xref

    page = inliner.document.settings.env.docname
    whole = _whole_name(text, page)
    shown = nodes.literal(rawtext, text)
    if whole is None:
        return [shown], []
    about = {"refdomain": "py", "reftype": "obj", "reftarget": whole, "refdoc": page}
    return [pending_xref(rawtext, shown, refexplicit=True, refwarn=False, **about)], []


def setup(app: object) -> None:
    from docutils.parsers.rst import roles

    roles.register_local_role("any_or_code", _any_or_code)
    app.connect("source-read", _links)  # type: ignore[attr-defined]
    app.connect("include-read", _included)  # type: ignore[attr-defined]
