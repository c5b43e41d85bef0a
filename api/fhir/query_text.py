"""Names and values as the query of an address: what `urllib.parse.urlencode` makes of texts, in a fraction of its time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from urllib.parse import quote_plus


def query_text(pairs: Iterable[tuple[str, str]], safe: str = "") -> str:
    """The pairs in their order; the characters of `safe` stay as they are, beside those that always do."""
    plain = _plain(safe)
    texts = [text if plain.fullmatch(text) else quote_plus(text, safe) for pair in pairs for text in pair]
    return "&".join([f"{name}={value}" for name, value in zip(texts[::2], texts[1::2], strict=True)])


@cache
def _plain(safe: str) -> re.Pattern[str]:
    """Texts in which nothing is to be replaced."""
    return re.compile(f"[A-Za-z0-9_.~{re.escape(safe)}-]*")
