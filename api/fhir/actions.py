"""What the table of routes is made of: address templates, and the handlers behind their methods.

https://hl7.org/fhir/R4/http.html#summary
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from api.fhir.exchange import FhirRequest, FhirResponse
from fhir_tracker.storage.database import Tx

Handler = Callable[[FhirRequest, Tx], FhirResponse]


@dataclass(frozen=True, kw_only=True)
class Action:
    """One handler; `interaction` is its FHIR code, `writes` whether it needs a write transaction.

    `operation` is the canonical URL of an operation's definition; its name is the `$name` that ends the template.
    `own_transactions` is called instead of `handle` where a request is more than one transaction. `quick` actions are
    tried without a transaction first, many requests at a time; NeedsTransaction then sends one the usual way.
    """

    handle: Handler
    interaction: str
    writes: bool = False
    quick: bool = False
    operation: str = ""
    own_transactions: Callable[[FhirRequest], FhirResponse] | None = None


@dataclass(frozen=True, kw_only=True)
class Route:
    """One address template, relative to the base, and what its methods do."""

    template: tuple[str, ...]
    actions: Mapping[str, Action]

    @cached_property
    def name(self) -> str:
        """The template as logs and metrics show it."""
        return "/fhir/" + "/".join(self.template)

    @property
    def allowed(self) -> str:
        """The value of an Allow header."""
        return ", ".join([*self.actions, *(["HEAD"] if "GET" in self.actions else [])])


Finder = Callable[[tuple[str, ...]], tuple[Route, dict[str, str]]]
"""Gives the route of a path and its parts by name; raises UnknownType or NotFound when there is none."""
