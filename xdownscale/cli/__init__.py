"""The command line: ``xdownscale fit``, ``predict``, ``score`` and others.

Each command is one file of this folder, with a name that does not begin with ``_``: the file holds
a click command called ``command``. It is thin over public functions of the library. What commands
share: ``_app.py`` runs one and turns errors into messages and exit codes, ``_records.py`` opens
files, ``_configuration.py`` reads YAML, ``_results.py`` writes results, ``_options.py`` holds
options.

No module here imports torch, or what does, at its top: ``xdownscale --help`` answers at once.
"""

from __future__ import annotations

from xdownscale.cli._app import main, run

__all__ = ["main", "run"]
