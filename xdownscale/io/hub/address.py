"""Addresses of published models: of their files, and without secrets for messages."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_SECRETS = re.compile(r"(?<=//)[^/\s'\"@]*@|\?[^\s'\")>]*")


def without_secrets(text: str) -> str:
    """Return a text in which addresses have no user, password or query.

    Examples
    --------
    >>> without_secrets("https://me:word@host/models?sig=abc is not there")
    'https://host/models?... is not there'
    """
    return _SECRETS.sub(lambda found: "?..." if found[0].startswith("?") else "", text)


def below(url: str, file: str) -> str:
    """Return the address of a file in a folder; its query, such as a signature, is kept.

    Examples
    --------
    >>> below("https://host/models/?sig=abc", "a.xd")
    'https://host/models/a.xd?sig=abc'
    """
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{file}", fragment=""))
