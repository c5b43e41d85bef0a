"""The Questionnaires of a program's forms.

https://hl7.org/fhir/R4/questionnaire.html
"""

from __future__ import annotations

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.model.answers import ORDINAL
from fhir_tracker.model.forms import Form, FormItem
from fhir_tracker.model.program import Program
from fhir_tracker.rules.form_section import questionnaire_url
from fhir_tracker.rules.forms import slug


def questionnaires(program: Program, status: str) -> list[Resource]:
    """The Questionnaire of each form of a program version."""
    return [_questionnaire(program, form, status) for form in program.forms]


def _questionnaire(program: Program, form: Form, status: str) -> Resource:
    url = questionnaire_url(program.code, form.code)
    return {
        "resourceType": "Questionnaire",
        "id": f"{program.code}.{form.code}-{program.version}"[-64:],
        "text": narrative("Questionnaire", form.title, [(one.code, one.text) for one in form.items]),
        "url": url,
        "version": str(program.version),
        "name": _name(f"{program.code}-{form.code}"),
        "title": form.title,
        "status": status,
        "subjectType": ["Patient"],
        **({"description": form.means} if form.means else {}),
        "item": [_item(one) for one in form.items],
    }


def _item(item: FormItem) -> Resource:
    base: Resource = {"linkId": item.code, "text": item.text}
    if not item.choices:
        whole = all(one is None or one == one.to_integral_value() for one in (item.least, item.most))
        return base | {"type": "integer" if whole else "decimal", "required": item.scored}
    options = [
        {
            "valueCoding": {
                "extension": [{"url": ORDINAL[0], "valueDecimal": choice.weight}],
                **_coding(choice.codes),
                "display": choice.text,
            }
            | ({} if any("|" in code for code in choice.codes) else {"code": slug(choice.text)})
        }
        for choice in item.choices
    ]
    return base | {"type": "choice", "required": item.scored, "answerOption": options}


def _coding(codes: tuple[str, ...]) -> Resource:
    named = next((code for code in codes if "|" in code), "")
    system, _, code = named.partition("|")
    return {"system": system, "code": code} if named else {}


def _name(code: str) -> str:
    return "".join(part.capitalize() for part in code.split("-"))
