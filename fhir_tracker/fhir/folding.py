"""How text is folded before it is compared in string searches."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """`text` without case and accents, and with runs of white space as one space."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(text.lower().split())
