"""The built documentation site, which `make docs` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"


@pytest.fixture(scope="session")
def site() -> Path:
    """Folder of the site; its tests are skipped where it is not built."""
    if not (SITE / "index.html").is_file():
        pytest.skip("the site is not built (make docs)")
    return SITE
