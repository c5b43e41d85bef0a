"""Generated narratives: a title and a table of labels and values, escaped.

https://hl7.org/fhir/R4/narrative.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from fhir_tracker.fhir.json_types import Resource

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def narrative(resource_type: str, title: str, rows: Sequence[tuple[str, str]]) -> Resource:
    """A Narrative with status `generated`: `title` (the type when blank), then one line a (label, value); text only."""
    heading = _text(title)
    heading = heading if heading.strip() else _text(resource_type)
    lines = "".join(f"<tr><th>{_text(label)}</th><td>{_text(value)}</td></tr>" for label, value in rows)
    table = f"<table><tbody>{lines}</tbody></table>" if lines else ""
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p><b>{heading}</b></p>{table}</div>'
    return {"status": "generated", "div": div}


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("", text), quote=True)
