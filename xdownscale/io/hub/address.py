"""Addresses of published models: of their files, and without secrets for messages."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def below(url: str, file: str) -> str:
    """Return the address of a file in a folder; its query, such as a signature, is kept.

    Examples
    --------
    >>> below("https://host/models/?sig=abc", "a.xd")
    'https://host/models/a.xd?sig=abc'
    """
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{file}", fragment=""))
