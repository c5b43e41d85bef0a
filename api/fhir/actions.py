"""What the table of routes is made of: address templates, and the handlers behind their methods.

https://hl7.org/fhir/R4/http.html#summary
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from api.fhir import needs as permission
from api.fhir.exchange import FhirRequest, FhirResponse
from api.fhir.fields import shown
from api.fhir.needs import UNSTATED, Needs
from fhir_tracker.storage.database import Tx

Handler = Callable[[FhirRequest, Tx], FhirResponse]


@dataclass(frozen=True, kw_only=True)
class Action:
    """One handler; `interaction` is its FHIR code, `writes` whether it needs a write transaction.

    `operation` is the canonical URL of an operation's definition; its name is the `$name` that ends the template.
    `own_transactions` is called instead of `handle` where a request is more than one transaction. `quick` actions are
    tried without a transaction first, many requests at a time; NeedsTransaction then sends one the usual way.

    `needs` is what the caller must be allowed: whoever calls `handle` or `own_transactions` has it checked, and gets an
    answer without what the caller may not see. An action that states nothing is refused to everybody.
    """

    handle: Handler
    interaction: str
    needs: Needs = UNSTATED
    writes: bool = False
    quick: bool = False
    operation: str = ""
    own_transactions: Callable[[FhirRequest], FhirResponse] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "handle", _guarded(self.handle, self.needs))
        if self.own_transactions is not None:
            object.__setattr__(self, "own_transactions", _guarded_whole(self.own_transactions, self.needs))


def _guarded(handle: Handler, needs: Needs) -> Handler:
    def guarded(request: FhirRequest, tx: Tx) -> FhirResponse:
        permission.check(request, needs)
        return shown(request.viewer, handle(request, tx))

    return guarded


def _guarded_whole(own: Callable[[FhirRequest], FhirResponse], needs: Needs) -> Callable[[FhirRequest], FhirResponse]:
    def guarded(request: FhirRequest) -> FhirResponse:
        permission.check(request, needs)
        response = own(request)
        return response if needs.is_shared else shown(request.viewer, response)

    return guarded


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
