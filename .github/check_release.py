"""Stop a release whose tag is not the version, or whose metadata name no repository."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def faults(tag: str, root: Path = ROOT) -> list[str]:
    """Return what has to be mended before this tag can be published."""
    found = []
    source = (root / "xdownscale" / "__init__.py").read_text("utf-8")
    version = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)[1]
    if tag != f"v{version}":
        found.append(f"The tag is {tag!r} and __version__ is {version!r}: tag v{version}.")
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    missing = [label for label in ("Repository", "Issues") if label not in project["urls"]]
    if missing:
        found.append(f"[project.urls] of pyproject.toml lacks {missing}: add the addresses.")
    changes = (root / "CHANGELOG.md").read_text("utf-8")
    heading = rf"^## \[?{re.escape(version)}\]? - \d{{4}}-\d\d-\d\d$"
    if re.search(heading, changes, re.MULTILINE) is None:
        found.append(f"CHANGELOG.md has no heading '## {version} - YYYY-MM-DD': add it.")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(faults(sys.argv[1])) or None)
