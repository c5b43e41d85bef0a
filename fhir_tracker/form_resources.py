"""The Questionnaires of a program's forms.

https://hl7.org/fhir/R4/questionnaire.html
"""

from __future__ import annotations

from collections.abc import Mapping

from fhir_tracker.fhir.identity import short_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.model.answers import ORDINAL
from fhir_tracker.model.forms import Form, FormItem
from fhir_tracker.model.program import CANONICAL, Program
from fhir_tracker.rules.form_section import questionnaire_url
from fhir_tracker.rules.forms import answer_codes


def questionnaires(program: Program, status: str) -> list[Resource]:
    """The Questionnaire of each form of a program version."""
    return [_questionnaire(program, form, status) for form in program.forms]


def answer_systems(program: Program) -> list[Resource]:
    """The codes of the answers that bring none of their own, one CodeSystem a form that has any."""
    found = []
    for form in program.forms:
        choices, codes = [choice for item in form.items for choice in item.choices], answer_codes(form)
        if texts := {codes[choice.text]: choice.text for choice in choices if not _named(choice.codes)}:
            found.append(_answer_system(program, form, texts))
    return found


def _answer_system(program: Program, form: Form, texts: dict[str, str]) -> Resource:
    return {
        "resourceType": "CodeSystem",
        "id": short_id(f"{program.code}.{form.code}-answer"),
        "url": _answer_url(program.code, form.code),
        "version": str(program.version),
        "name": _name(f"{program.code}-{form.code}-answer"),
        "title": f"{form.title}: answers",
        "status": "active",
        "caseSensitive": True,
        "content": "complete",
        "concept": [{"code": code, "display": text} for code, text in texts.items()],
    }


def _answer_url(program: str, form: str) -> str:
    """A dot keeps form b-c of program a apart from form c of program a-b: no code has one."""
    return f"{CANONICAL}/CodeSystem/{program}.{form}-answer"


def _questionnaire(program: Program, form: Form, status: str) -> Resource:
    url, codes = questionnaire_url(program.code, form.code), answer_codes(form)
    return {
        "resourceType": "Questionnaire",
        "id": short_id(f"{program.code}.{form.code}-{program.version}"),
        "text": narrative("Questionnaire", form.title, [(one.code, one.text) for one in form.items]),
        "url": url,
        "version": str(program.version),
        "name": _name(f"{program.code}-{form.code}"),
        "title": form.title,
        "status": status,
        "subjectType": ["Patient"],
        **({"description": form.means} if form.means else {}),
        "item": [_item(one, _answer_url(program.code, form.code), codes) for one in form.items],
    }


def _item(item: FormItem, system: str, codes: Mapping[str, str]) -> Resource:
    base: Resource = {"linkId": item.code, "text": item.text}
    if not item.choices:
        whole = all(one is None or one == one.to_integral_value() for one in (item.least, item.most))
        return base | {"type": "integer" if whole else "decimal", "required": item.scored}
    options = [
        {
            "valueCoding": {
                "extension": [{"url": ORDINAL[0], "valueDecimal": choice.weight}],
                **(_named(choice.codes) or {"system": system, "code": codes[choice.text]}),
                "display": choice.text,
            }
        }
        for choice in item.choices
    ]
    return base | {"type": "choice", "required": item.scored, "answerOption": options}


def _named(codes: tuple[str, ...]) -> Resource:
    named = next((code for code in codes if "|" in code), "")
    system, _, code = named.partition("|")
    return {"system": system, "code": code} if named else {}


def _name(code: str) -> str:
    return "".join(part.capitalize() for part in code.split("-"))
