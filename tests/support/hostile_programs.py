"""Program files that are valid and made to hurt: names as long as they may be, every script, quotes, pipes and emoji."""

from __future__ import annotations

import json
from typing import Any

LONGEST = "a" * 40 + "-" + "b" * 23
"""A code of 64 letters."""
TEXTS = {
    "pipes": "a|b||c|https://example.org/x|1",
    "quotes": "\"quoted\" 'single' «guillemets» `back` \\ & <b>bold</b> ]]> {{x}} %s",
    "emoji": "👩🏽‍⚕️📞 call 🏳️‍🌈",
    "scripts": "Позвонить пациенту 電話 اتصل بالمريض फोन",
    "combining": "e\u0301 o\u0308 \u200d\u200e a\u0300\u0301\u0302",
    "long": "A title that goes on and on, " * 30,
    "script": "<script>alert(1)</script>",
}


def hostile(text: str, *, program: str = LONGEST, form: str = "c" * 60) -> str:
    """One program in which everything that can be named is called `text`, under the longest codes there may be."""
    whole: dict[str, Any] = {
        "program": program,
        "title": text,
        "description": text,
        "reasons": [{"code": "r" * 64, "title": text, "means": text}],
        "stages": [
            {"code": "s" * 64, "title": text, "means": text, "is": "active"},
            {"code": "over", "title": text, "means": text, "is": "completed"},
        ],
        "statuses": [
            {"code": "o" * 64, "is": "requested", "title": text, "means": text},
            {"code": "done", "is": "completed", "title": text, "means": text},
        ],
        "transitions": [{"from": "o" * 64, "to": "done"}],
        "goals": [{"code": "g" * 64, "title": text, "target": {"within": "2 days"}}],
        "tasks": [
            {"code": "t" * 64, "title": text, "what": text, "role": "rn"},
            {"code": "t" * 63 + "u", "title": text, "what": text, "role": "rn", "starts": {"after": "t" * 64}},
        ],
        "forms": [
            {
                "code": form,
                "title": text,
                "means": text,
                "answers": {f"{text} 0": 0, f"{text} 1": 1, "Нет": 2, "Да": 3, "Yes!": 4, "Yes?": 5},
                "items": [{"code": "q" * 64, "text": text}, {"code": "q2", "text": text}],
            }
        ],
        "rules": [{"id": "x" * 64, "title": text, "when": {"overdue_by": "0 hours"}, "do": {"escalate": "l" * 64}}],
        "ladders": {"l" * 64: {"levels": [{"to": "rn"}]}},
    }
    return json.dumps(whole, ensure_ascii=False)
