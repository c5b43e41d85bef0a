"""A simulated EHR for tests, with two members of staff, two charts and one registered app of each type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from api.demo.simulator.app import SimulatedEhr, running
from api.demo.simulator.simulator import Choice, Simulator
from api.demo.simulator.world import Chart, ClientType, Member, RegisteredApp, World
from fhir_tracker.fhir.json_types import Json, Resource

NURSE = Member(id="nurse", name="Nora Nurse", title="RN", fhir_user="Practitioner/nurse")
CLERK = Member(id="clerk", name="Carl Clerk", title="Front desk", fhir_user="Practitioner/clerk")
CHARTS = (
    Chart(id="ada", name="Ada Synthetic", born="1948-02-03", sex="female", number="4471"),
    Chart(id="ben", name="Ben Synthetic", born="1951-07-30", sex="male", number="5512"),
)
PEOPLE: tuple[Resource, ...] = (
    *(
        {
            "resourceType": "Patient",
            "id": one.id,
            "name": [{"given": [one.name.split()[0]], "family": one.name.split()[1]}],
            "birthDate": one.born,
            "gender": one.sex,
            "identifier": [{"system": "urn:example:mrn", "value": one.number}],
        }
        for one in CHARTS
    ),
    *({"resourceType": "Practitioner", "id": one.id, "name": [{"text": one.name}]} for one in (NURSE, CLERK)),
)


@contextmanager
def simulated_ehr(
    *, host: str = "127.0.0.1", auto: Choice | None = None, is_secured: bool = True
) -> Iterator[SimulatedEhr]:
    """One that really listens on loopback; register the app under test with `app_at` and `simulator.register`.

    `auto` says who logs in to a standalone launch; without it the pages ask. Launches from the EHR never ask.
    """

    def make(origin: str) -> Simulator:
        world = World(members=(NURSE, CLERK), charts=CHARTS)
        return Simulator(world, origin=origin, auto=auto, is_secured=is_secured)

    with running(make, PEOPLE, host=host) as found:
        yield found


def app_at(
    address: str,
    kind: ClientType = "public",
    *,
    client_id: str = "care-tracker",
    secret: str = "",
    jwks: dict[str, Json] | None = None,
    jwks_url: str = "",
) -> RegisteredApp:
    """A tracker at `address` (no slash at its end) as an EHR registers it."""
    return RegisteredApp(
        client_id=client_id,
        name="Care plan tracker",
        launch_url=f"{address}/launch",
        redirect_uris=(f"{address}/callback",),
        kind=kind,
        secret=secret,
        jwks=jwks,
        jwks_url=jwks_url,
    )
