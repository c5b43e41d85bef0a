"""The colours of an EHR on our pages: of a style sheet by SMART those that leave every text readable, and nothing else of it.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#smart_style_url-experimental
https://www.w3.org/TR/WCAG22/#contrast-minimum
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

CONTRAST = 4.5
LIGHT: Mapping[str, str] = {
    "ground": "#f5f6f8",
    "paper": "#ffffff",
    "hover": "#f2f5f9",
    "ink": "#1b2027",
    "soft": "#55606d",
    "accent": "#1d5fbf",
    "accent-ink": "#ffffff",
    "accent-soft": "#e9f0fb",
    "late": "#b3261e",
    "late-soft": "#fdeceb",
    "today": "#855400",
    "today-soft": "#fdf2dc",
    "hold": "#46566a",
    "hold-soft": "#e9edf2",
    "done": "#1a6a37",
    "done-soft": "#e3f3e9",
    "escalated": "#6a3db3",
    "escalated-soft": "#f1eafb",
}
"""Our own colours by light, as `tokens.css` has them."""
_STATES = ("late", "today", "hold", "done", "escalated")
_SURFACES = ("ground", "paper", "hover")
READ_ON: Mapping[str, tuple[str, ...]] = {
    "ink": (*_SURFACES, "accent-soft", *(f"{one}-soft" for one in _STATES)),
    "soft": ("ground", "paper"),
    "accent": (*_SURFACES, "accent-soft"),
    "accent-ink": ("accent",),
    **{one: ("ground", "paper", f"{one}-soft") for one in _STATES},
}
"""Colour of text -> those that it stands on."""
_TAKEN = {
    "color_background": "ground",
    "color_text": "ink",
    "color_highlight": "accent",
    "color_error": "late",
    "color_success": "done",
}
_HEX = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")


def colours_in(text: bytes) -> dict[str, str]:
    """Our names of colours -> what a style sheet by SMART puts in their place; {} for what is none."""
    try:
        told = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(told, dict):
        return {}
    given = {ours: told.get(theirs) for theirs, ours in _TAKEN.items()}
    palette, kept = dict(LIGHT), dict[str, str]()
    for name, value in given.items():
        if not isinstance(value, str) or not _HEX.fullmatch(value):
            continue
        change = {name: _long(value)} | ({"accent-ink": _on(_long(value))} if name == "accent" else {})
        if is_readable(palette | change):
            palette |= change
            kept |= change
    return kept


def is_readable(palette: Mapping[str, str]) -> bool:
    """Whether every text keeps its contrast on whatever it stands on."""
    return all(
        contrast(palette[text], palette[below]) >= CONTRAST for text, under in READ_ON.items() for below in under
    )


def contrast(one: str, other: str) -> float:
    """The ratio of two colours, 1 to 21, as WCAG counts it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def sheet(colours: Mapping[str, str]) -> str:
    """The style sheet that puts colours in place, on screens and by light alone; "" for none."""
    told = " ".join(f"--{name}: {colours[name]};" for name in LIGHT if name in colours)
    return f"@media screen and (prefers-color-scheme: light) {{ :root {{ {told} }} }}\n" if told else ""


def _long(value: str) -> str:
    digits = value[1:].lower()
    return "#" + (digits if len(digits) == 6 else "".join(one * 2 for one in digits))


def _on(ground: str) -> str:
    return max(("#ffffff", "#000000"), key=lambda one: contrast(one, ground))


def _luminance(value: str) -> float:
    parts = (int(value[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
