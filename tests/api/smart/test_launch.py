"""Launches: people are sent to log in at the EHRs we know, with everything the specification asks for, and nowhere else."""

from __future__ import annotations

import base64
import hashlib

import pytest

from api.demo.simulator.ledger import Context
from tests.support.launching import BASE, Launchpad, asked, launch_of


@pytest.mark.requirement(90, 91, 93, 94, 95)
@pytest.mark.security("S14", "S15", "S18")
def test_a_launch_from_a_chart_comes_in_to_that_chart(pad: Launchpad) -> None:
    browser = pad.browser()
    sent = browser.launch(context=Context(patient="ada"))
    request = asked(sent)
    assert sent.headers["location"].startswith(f"{pad.simulator.address('authorize')}?")
    assert (request["response_type"], request["client_id"]) == ("code", "care-tracker")
    assert request["redirect_uri"] == f"{BASE}/callback"
    assert request["aud"] == pad.simulator.fhir_base
    assert request["code_challenge_method"] == "S256"
    assert {"openid", "fhirUser", "launch"} <= set(request["scope"].split())
    assert len(request["state"]) * 6 >= 122
    assert len(request["nonce"]) * 6 >= 122
    back = browser.at_ehr(sent)
    answer = browser.get(back)
    session = pad.session(launch_of(answer))
    assert (session.patient, session.issuer, session.client) == ("clinic-ada", pad.simulator.fhir_base, "care-tracker")
    assert session.frame_ancestors == (pad.simulator.origin,)
    assert pad.simulator.violations == ()
    verifier = next(
        one.parameters["code_verifier"] for one in pad.simulator.ledger.seen if "code_verifier" in one.parameters
    )
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert challenge == request["code_challenge"]
