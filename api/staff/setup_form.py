"""Forms by which an administrator sets things up: what was typed stays, and what is wrong stands beside its field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from api.staff.shapes import Field, Form
from fhir_tracker.errors import TrackerError, UsageError

_FLAG = re.compile(r"--[a-z][a-z-]*")


def filled(form: Form, given: Mapping[str, str]) -> Form:
    """The form with what was typed into it; secrets have to be typed again."""
    return replace(form, fields=tuple(replace(one, value=_typed(one, given)) for one in form.fields))


def told(form: Form, error: TrackerError, flags: Mapping[str, str]) -> Form:
    """The form with what is wrong beside the field that it is about, or above them all.

    Messages speak of options of the command line; `flags` says which field each one is.
    """
    labels = {one.name: one.label for one in form.fields}
    named = [flags[flag] for flag in _FLAG.findall(error.message) if flags.get(flag) in labels]
    at = next(iter(named), error.issues[0].expression or "")
    text = _FLAG.sub(lambda match: _labelled(match[0], labels, flags), error.message)
    if at in labels and text[:1] in "'\"":
        text = f"{labels[at]}: {text}"
    if at not in labels:
        return replace(form, error=text)
    return replace(form, fields=tuple(replace(one, error=text) if one.name == at else one for one in form.fields))


def chosen(given: Mapping[str, str], name: str) -> list[str]:
    """What is ticked of the boxes called `name`."""
    return [field.removeprefix(f"{name}.") for field in given if field.startswith(f"{name}.")]


@contextmanager
def beside(field: str) -> Iterator[None]:
    """What is wrong in here is said beside that field."""
    try:
        yield
    except UsageError as error:
        raise UsageError(error.message, expression=field) from None


def _labelled(flag: str, labels: Mapping[str, str], flags: Mapping[str, str]) -> str:
    label = labels.get(flags.get(flag, ""))
    return f"“{label}”" if label else flag


def _typed(one: Field, given: Mapping[str, str]) -> str:
    if one.kind == "password":
        return ""
    return " ".join(chosen(given, one.name)) if one.kind == "ticks" else given.get(one.name, "")
