"""The loggers of this package, timed stages, and texts without passwords.

All loggers are below ``xdownscale``, which has a `logging.NullHandler`: nothing is written unless
the user asks for it. INFO has the time that each stage took, DEBUG its details.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SECRETS = re.compile(r"(?<=//)[^/\s'\"@]*@|\?[^\s'\")>]*")


def without_secrets(text: str) -> str:
    """Return a text in which addresses have no user, password or query.

    Parameters
    ----------
    text : str
        With addresses in it, or none.

    Examples
    --------
    >>> without_secrets("https://me:word@host/models?sig=abc is not there")
    'https://host/models?... is not there'
    """
    return _SECRETS.sub(lambda found: "?..." if found[0].startswith("?") else "", text)


class Discreet(logging.Filter):
    """Takes secrets out of records; a logger's filter sees what is logged there."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the message of a record; every record is kept.

        Parameters
        ----------
        record : logging.LogRecord
            What is logged.

        Returns
        -------
        bool
            True.
        """
        record.msg = without_secrets(record.getMessage())
        record.args = ()
        return True


_DISCREET = Discreet()


def logger(part: str) -> logging.Logger:
    """Return the logger of a part of the package, whose records have no secrets.

    Parameters
    ----------
    part : str
        What a user calls, such as ``"fit"``.

    Examples
    --------
    >>> logger("fit").name
    'xdownscale.fit'
    """
    found = logging.getLogger(f"xdownscale.{part}")
    found.addFilter(_DISCREET)
    return found


@contextmanager
def timed(log: logging.Logger, stage: str) -> Iterator[None]:
    """Log the seconds that a stage took, at INFO; that it begins or failed, at DEBUG.

    Parameters
    ----------
    log : logging.Logger
        From `logger`.
    stage : str
        What is done.

    Examples
    --------
    >>> with timed(logger("fit"), "records checked"):
    ...     pass
    """
    log.debug("%s: begins", stage)
    started = time.perf_counter()
    try:
        yield
    except BaseException as err:
        log.debug("%s: %s after %.3f s", stage, type(err).__name__, time.perf_counter() - started)
        raise
    log.info("%s: %.3f s", stage, time.perf_counter() - started)
