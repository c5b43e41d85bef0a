"""The programs shipped with the product, as their YAML texts."""

from __future__ import annotations

from importlib.resources import files


def starter_programs() -> dict[str, str]:
    """Program code to the text of its file, by code."""
    folder = files("fhir_tracker") / "starter_programs"
    found = (one for one in folder.iterdir() if one.name.endswith(".yaml"))
    return {
        one.name.removesuffix(".yaml"): one.read_text(encoding="utf-8") for one in sorted(found, key=lambda f: f.name)
    }
