"""The addresses of our own tokens: given out, asked about, ended."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from api.context import AppContext
from api.smart.forms import Answering, FormEndpoint
from api.smart.introspection import TokenQuestions
from api.smart.places import INTROSPECT, REVOKE, TOKEN
from api.smart.systems import Systems
from api.smart.token import TokenEndpoint


def token_routes(context: AppContext) -> list[BaseRoute]:
    """The three addresses of one server, in every access mode: what they are shown is all that opens them."""
    systems = Systems(context)
    questions = TokenQuestions(context, systems)
    answering: dict[str, Answering] = {
        TOKEN: TokenEndpoint(context, systems),
        INTROSPECT: questions.introspect,
        REVOKE: questions.revoke,
    }
    return [Route(path, FormEndpoint(path, handle)) for path, handle in answering.items()]
