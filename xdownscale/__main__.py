"""Command line by ``python -m xdownscale``."""

from __future__ import annotations

from xdownscale.cli import main

if __name__ == "__main__":
    main()
