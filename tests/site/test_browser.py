"""The site in headless Chromium: no complaint, no broken image, search, dark and light, 400 px."""

from __future__ import annotations

import functools
import html
import json
import re
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

PAGES = [
    "index.html",
    "start/choosing.html",
    "tutorials/quickstart.html",
    "tutorials/rain.html",
    "howto/fit_and_predict.html",
    "explanation/method.html",
    "explanation/state_of_the_field.html",
    "reference/api/accessors.html",
    "reference/api/generated/xarray.DataArray.geostat.semivariogram.html",
    "reference/conventions.html",
    "gallery/index.html",
    "benchmarks.html",
    "reliability.html",
]
# Opens pages one after the other in a frame, and writes what it found into its own body.
PROBE = """<!DOCTYPE html><title>probe</title><body><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
async function open(address, width) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  const loaded = new Promise(done => frame.onload = done);
  frame.src = address;
  document.body.append(frame);
  await loaded; await wait(150);
  return frame;
}
function background(doc) {
  const parts = getComputedStyle(doc.body).backgroundColor.match(/[0-9.]+/g).map(Number);
  return (parts[0] + parts[1] + parts[2]) / 765;
}
(async () => {
  const found = {pages: [], search: 0, themes: {}};
  for (const page of PAGES) {
    const frame = await open("/" + page, 400), doc = frame.contentDocument;
    for (const image of doc.images) image.loading = "eager";
    await wait(150);
    found.pages.push({page, wide: doc.documentElement.scrollWidth,
      images: doc.images.length, title: doc.title,
      broken: [...doc.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)});
    frame.remove();
  }
  const search = await open("/search.html?q=semivariogram", 1000);
  for (let k = 0; k < 40 && !found.search; k++) {
    await wait(100);
    found.search = search.contentDocument.querySelectorAll("#search-results li").length;
  }
  for (const theme of ["dark", "light"]) {
    localStorage.setItem("mode", theme); localStorage.setItem("theme", theme);
    const frame = await open("/index.html", 1000);
    found.themes[theme] = background(frame.contentDocument);
    frame.remove();
  }
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = JSON.stringify(found);
})();
</script></body>"""


class Handler(SimpleHTTPRequestHandler):
    """Serves the site, and the page that looks at it."""

    pages: tuple[str, ...] = tuple(PAGES)

    def do_GET(self):
        if self.path != "/probe":
            return super().do_GET()
        body = PROBE.replace("PAGES", json.dumps(self.pages), 1).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)
        return None

    def log_message(self, *args):
        pass


def look(folder, profile, pages=PAGES):
    """Return what the probe found, and what the browser's console said."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium")
    handler = type("Of", (Handler,), {"pages": tuple(pages)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--enable-logging=stderr", f"--user-data-dir={profile}", "--dump-dom"]
        options += ["--virtual-time-budget=60000", "--host-resolver-rules=MAP * ~NOTFOUND"]
        options[-1] += ", EXCLUDE 127.0.0.1"
        address = f"http://127.0.0.1:{server.server_port}/probe"
        done = subprocess.run(
            [browser, *options, address], capture_output=True, text=True, timeout=200, check=True
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert text is not None, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(text[1])), console


@pytest.fixture(scope="module")
def found(site, tmp_path_factory):
    return look(site, tmp_path_factory.mktemp("profile"))


def test_the_console_is_silent(found):
    """But for what the theme says of its mode."""
    told = [line for line in found[1] if "[PST]" not in line]
    assert told == []


@pytest.mark.parametrize("number", range(len(PAGES)))
def test_a_page_fits_a_telephone_and_shows_its_images(number, found):
    page = found[0]["pages"][number]
    assert page["page"] == PAGES[number]
    assert page["broken"] == []
    assert page["wide"] <= 400
    assert page["title"]


def test_tutorials_and_gallery_have_figures(found):
    images = {page["page"]: page["images"] for page in found[0]["pages"]}
    assert images["gallery/index.html"] >= 7
    assert images["tutorials/rain.html"] >= 1


def test_search_finds(found):
    assert found[0]["search"] >= 5


def test_dark_is_dark_and_light_is_light(found):
    assert found[0]["themes"]["dark"] < 0.25
    assert found[0]["themes"]["light"] > 0.9


def test_the_check_sees_what_is_broken(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    bad = '<title>x</title><img src="no.png"><div style="width:900px">.</div>'
    (folder / "bad.html").write_text(bad + "<script>console.error('oh no')</script>")
    (folder / "index.html").write_text("<title>x</title>")
    (folder / "search.html").write_text("<title>x</title>")
    seen, console = look(folder, tmp_path / "profile", ["bad.html"])
    page = seen["pages"][0]
    assert page["wide"] > 400
    assert len(page["broken"]) == 1
    assert any("oh no" in line for line in console)
    assert seen["search"] == 0
