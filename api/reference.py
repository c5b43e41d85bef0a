"""`/openapi.json` and `/docs`: what the FHIR API takes and answers, for machines and for people; no login, no data."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from api.context import AppContext
from api.fhir.openapi import document
from api.page_templates import page_templates
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.json_types import Json, Resource


def reference_routes(context: AppContext) -> APIRouter:
    """The description of the FHIR API of one server; it is made when first asked for."""
    router = APIRouter()
    made: dict[str, Response] = {}

    def openapi() -> Response:
        if "json" not in made:
            made["json"] = Response(write_json(document(context)), media_type="application/json")
        return made["json"]

    def docs() -> Response:
        if "page" not in made:
            made["page"] = _page(document(context))
        return made["page"]

    router.add_api_route("/openapi.json", openapi, methods=["GET", "HEAD"], response_model=None)
    router.add_api_route("/docs", docs, methods=["GET", "HEAD"], response_model=None)
    return router


def _page(described: Resource) -> Response:
    """The page needs no script; its own style is the only thing that a browser may apply."""
    templates = page_templates("api", resolved=_resolved)
    style = templates.get_template("reference.css").render()
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    page = templates.get_template("reference.html").render(document=described, style=style)
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def _resolved(part: Resource, described: Resource) -> Json:
    """What a `$ref` stands for, or the part itself."""
    found: Json = part
    if isinstance(pointer := part.get("$ref"), str):
        found = described
        for step in pointer.removeprefix("#/").split("/"):
            assert isinstance(found, dict)  # noqa: S101 - the description refers to its own components
            found = found[step]
    return found
