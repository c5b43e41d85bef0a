"""The templates of pages: everything is escaped, and a name that does not exist is a mistake."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined


def page_templates(package: str, **filters: Callable[..., object]) -> Environment:
    """The templates in the folder `templates` of a package, with filters by the names they have there."""
    environment = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment
