"""The quiet pages: programs in words, the keys, and what a browser prefers."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from api.staff import words
from api.staff.endpoint import see_other
from api.staff.frames import frame_of
from api.staff.names import names_for
from api.staff.rendering import answer
from api.staff.session import DENSITIES
from api.staff.shapes import Chip, ProgramView
from api.staff.visit import Visit, keep_session
from fhir_tracker import programs
from fhir_tracker.errors import Incorrect
from fhir_tracker.model.program import Calendar
from fhir_tracker.programs import Published
from fhir_tracker.rules.summary import program_summary

_ICONS = {"running": "open", "paused": "hold", "stopped": "done"}


def programs_page(visit: Visit) -> Response:
    """GET `/programs`."""
    with visit.context.database.read() as tx:
        found = sorted(programs.all_programs(tx), key=lambda one: one.status != "active")
        names = names_for(tx, visit.viewer, [], [one.published_by for one in found])
        views = [_program(one, names.who(one.published_by), visit) for one in found]
        frame = frame_of(tx, visit, "Programs", "/programs")
    return answer("programs.html", frame, programs=views)


def keys_page(visit: Visit) -> Response:
    """GET `/help/keys`."""
    with visit.context.database.read() as tx:
        frame = frame_of(tx, visit, "Keys")
    return answer("keys.html", frame)


def prefer(visit: Visit) -> Response:
    """POST `/preferences`: row density and single keys."""
    density = visit.form.get("density", visit.session.density)
    keys = visit.form.get("keys", "on" if visit.session.keys else "off")
    if density not in DENSITIES or keys not in ("on", "off"):
        raise Incorrect("There is no such preference.")
    response = see_other(visit.back)
    keep_session(visit, response, replace(visit.session, density=density, keys=keys == "on"))
    return response


def _program(published: Published, by: str, visit: Visit) -> ProgramView:
    program = published.program
    statuses = program.statuses if program else ()
    return ProgramView(
        code=published.code,
        title=published.title,
        version=published.version,
        status=published.status,
        published=words.ago(published.published_at, visit.now, program.calendar if program else Calendar()),
        by=by,
        description=program.description if program else f"This release cannot read it: {published.problem}",
        lines=tuple(program_summary(program)[1:]) if program else (),
        statuses=tuple(Chip(label=one.title, means=one.means, icon=_ICONS[one.clock]) for one in statuses),
    )
