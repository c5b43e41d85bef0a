"""Where and how tokens are to be had: the smart-configuration, which anybody may read from anywhere.

https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html
"""

from __future__ import annotations

import json

from api.context import AppContext
from api.fhir.exchange import FhirResponse
from api.smart.places import INTROSPECT, REVOKE, TOKEN
from api.smart.token import GRANT
from fhir_tracker.client_keys import ALGORITHMS

PATH = "/fhir/.well-known/smart-configuration"
CAPABILITIES = ("client-confidential-asymmetric", "permission-v1", "permission-v2")
_WORKED_ON = (
    "Appointment CarePlan CareTeam Communication Condition Encounter Flag Goal Measure MeasureReport Observation Patient "
    "PlanDefinition Practitioner Questionnaire QuestionnaireResponse Task"
).split()
_METHODS = ["private_key_jwt"]


def smart_configuration(context: AppContext) -> dict[str, object]:
    """What one server says; every address is absolute, and nothing is there that it does not do."""
    root, algorithms = context.public_url, list(ALGORITHMS)
    return {
        "token_endpoint": f"{root}{TOKEN}",
        "token_endpoint_auth_methods_supported": _METHODS,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint": f"{root}{INTROSPECT}",
        "introspection_endpoint_auth_methods_supported": _METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint": f"{root}{REVOKE}",
        "revocation_endpoint_auth_methods_supported": _METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "grant_types_supported": [GRANT],
        "scopes_supported": scopes_supported(),
        "response_types_supported": [],
        "code_challenge_methods_supported": ["S256"],
        "capabilities": list(CAPABILITIES),
    }


def scopes_supported() -> list[str]:
    """The scopes that a system would mostly ask for; any other type and any rights can be asked for as well."""
    all_types = ["system/*.cruds", "system/*.rs", "system/*.read", "system/*.write", "system/*.*"]
    return all_types + [f"system/{type_}.{rights}" for type_ in _WORKED_ON for rights in ("rs", "cruds")]


def configuration_answer(context: AppContext) -> FhirResponse:
    """The answer, of one kind whatever the caller accepts."""
    headers = {"Content-Type": "application/json", "Cache-Control": "public, max-age=300"}
    return FhirResponse(status=200, body=json.dumps(smart_configuration(context)).encode(), headers=headers)
