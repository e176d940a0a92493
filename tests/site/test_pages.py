"""The site's pages: every public name is there, every link leads somewhere, ten questions."""

from __future__ import annotations

import inspect
import re
import types
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
import xarray as xr

import xdownscale as xd

# What users ask, a page that answers it, and words that the answer contains.
QUESTIONS = {
    "How do I fit my own files?": ("tutorials/own_files.html", "open_mfdataset"),
    "Does it work for rain?": ("tutorials/rain.html", "non-negative"),
    "How long does it take?": ("start/choosing.html", "max_minutes"),
    "How much memory does it need?": ("start/choosing.html", "larger than memory"),
    "Does it run on my cluster?": ("tutorials/cluster.html", "SLURMCluster"),
    "Do I need a GPU?": ("howto/gpu.html", 'device="auto"'),
    "Can I add my own method?": ("howto/add_a_method.html", "register"),
    "Can I judge fields without truth?": ("tutorials/without_truth.html", "Wasserstein"),
    "How do I cite it?": ("community/citing.html", "2512.05139"),
    "What happens when something fails?": ("reliability.html", "Bad input"),
}


class Page(HTMLParser):
    """Links, images, anchors and words of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.anchors: set[str] = set()
        self.words: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("img", "script") and given.get("src"):
            self.sources.append(given["src"])
        if tag == "link" and given.get("href"):
            self.sources.append(given["href"])
        self.anchors.update(given[name] for name in ("id", "name") if given.get(name))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


@pytest.fixture(scope="module")
def pages(site):
    found = (path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts)
    return {path: Page(path) for path in found}


def is_outside(address: str) -> bool:
    return bool(re.match(r"[a-z]+:|//", address))


def test_every_link_and_image_leads_somewhere(pages):
    lost = []
    for path, page in pages.items():
        for address in [*page.links, *page.sources]:
            if is_outside(address):
                continue
            file, anchor = urldefrag(address)
            target = (path.parent / unquote(file.split("?")[0])).resolve() if file else path
            known = pages.get(target)
            missing = anchor and known is not None and unquote(anchor) not in known.anchors
            if not target.exists() or missing:
                lost.append(f"{path.name}: {address}")
    assert not lost


def test_the_check_of_links_sees_one_that_is_lost(tmp_path):
    page = tmp_path / "a.html"
    page.write_text('<a href="b.html">b</a><a href="#there" id="here">c</a>')
    with pytest.raises(AssertionError, match=r"b\.html"):
        test_every_link_and_image_leads_somewhere({page: Page(page)})


def test_nothing_is_fetched_from_elsewhere(pages):
    for path, page in pages.items():
        foreign = [s for s in page.sources if is_outside(s)]
        assert not [s for s in foreign if not s.startswith("data:")], path


def reached(site, pages) -> set[Path]:
    """Pages that are at most two clicks from the front page."""
    found = {site / "index.html"}
    for _ in range(2):
        for path in list(found):
            for address in pages[path].links:
                if not is_outside(address):
                    target = (path.parent / unquote(urldefrag(address)[0])).resolve()
                    found |= {target} & pages.keys()
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_within_two_clicks(question, site, pages):
    place, words = QUESTIONS[question]
    front = pages[site / "index.html"]
    assert question in front.text
    assert site / place in reached(site, pages)
    assert words in pages[site / place].text


def public_names() -> set[str]:
    """Functions and classes that users may call, by the names that they call them by."""
    found = set()
    for name in xd.__all__:
        thing = getattr(xd, name)
        if not isinstance(thing, types.ModuleType):
            found.add(f"xdownscale.{name}")
            continue
        for member in getattr(thing, "__all__", ()):
            found_there = getattr(thing, member)
            if inspect.isfunction(found_there) or inspect.isclass(found_there):
                found.add(f"xdownscale.{name}.{member}")
    return found


# Names of what is described under another one.
ALIASES = {
    "xdownscale.DownscalerConfig": "xdownscale.config.DownscalerConfig",
    "xdownscale.regridding.regrid": "xdownscale.regrid",
    "xdownscale.reports.report": "xdownscale.report",
}


def inventory(site) -> set[str]:
    """Names of Python objects that the site describes."""
    whole = (site / "objects.inv").read_bytes()
    packed = whole.split(b"\n", 4)[4]
    lines = zlib.decompress(packed).decode().splitlines()
    return {line.split()[0] for line in lines if line.split()[1].startswith("py:")}


def test_every_public_name_has_its_page(site):
    known = inventory(site)
    assert set(ALIASES.values()) <= known
    assert not public_names() - known - ALIASES.keys()


@pytest.mark.parametrize("kind", [xr.DataArray, xr.Dataset])
@pytest.mark.parametrize("name", ["downscale", "geostat"])
def test_accessors_are_attributes_of_xarrays_classes(kind, name, site, pages):
    known = inventory(site)
    for method in dir(getattr(kind, name)):
        if not method.startswith("_"):
            whole = f"{kind.__name__}.{name}.{method}"
            assert f"xarray.{whole}" in known
            page = pages[site / "reference" / "api" / "generated" / f"xarray.{whole}.html"]
            assert "Examples" in page.text
            assert whole in page.text


def test_tutorials_ran(site):
    for script in sorted(Path(site, "../../tutorials").glob("*.py")):
        text = (site / "tutorials" / f"{script.stem}.html").read_text("utf-8")
        assert "cell_output" in text, script.name
        assert "Traceback (most recent call last)" not in text, script.name
