"""Reads `forms` of a program file: questions, weights of answers, the score and the flags it puts up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from fhir_tracker.model.forms import Choice, Form, FormFlag, FormItem
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.rules.draft import Draft, refuse_doubles, title_of
from fhir_tracker.rules.source import Fields, Listing, Node, Table, fields, items_of, text_of

_NUMBER: Final = re.compile(r"-?[0-9]{1,6}(\.[0-9]{1,3})?")
MOST_ITEMS: Final = 200


def read_forms(node: Node | None, draft: Draft) -> tuple[Form, ...]:
    """The forms of the program."""
    found = [form for item in items_of(node, draft.problems) if (form := _form(item, draft))]
    if node is not None:
        refuse_doubles(node, draft)
    return tuple(found)


def questionnaire_url(program: str, form: str) -> str:
    """The canonical url of a program's form."""
    return f"{CANONICAL}/Questionnaire/{program}.{form}"


def number_of(node: Node, draft: Draft) -> Decimal | None:
    """A number such as `10` or `2.5`; None with a problem noted otherwise."""
    text = text_of(node, draft.problems)
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        draft.problems.add(node.place, f'"{text}" is not a number: write 10 or 2.5')
        return None
    return Decimal(text)


def form_words(form: Form) -> str:
    """A form for people who approve it."""
    flags = "; ".join(flag_words(one) for one in form.flags)
    score = f", score needs {form.needs} of {len(form.scored)} answers" if form.scored else ""
    return f"{form.code}: {form.title}, {len(form.items)} questions{score}{'; ' + flags if flags else ''}"


def flag_words(flag: FormFlag) -> str:
    """`flag high-risk while the score is 10 or more`."""
    bounds = [f"{flag.at_least} or more" if flag.at_least is not None else ""]
    bounds.append(f"{flag.at_most} or less" if flag.at_most is not None else "")
    what = f"the answer to {flag.item}" if flag.item else "the score"
    return f"flag {flag.code} while {what} is {' and '.join(one for one in bounds if one)}"


def _form(node: Node, draft: Draft) -> Form | None:
    optional = ("title", "means", "same_as", "answers", "score", "flags")
    given = fields(node, draft.problems, ("code", "items"), optional)
    items_node = given.node("items") if given else None
    if given is None or items_node is None:
        return None
    code = given.code("code")
    if code in (known.code for known in draft.forms):
        return None
    usual = _choices(given.node("answers"), draft) if given.node("answers") else ()
    items = [one for item in items_of(items_node, draft.problems) if (one := _item(item, usual, draft))]
    refuse_doubles(items_node, draft)
    if isinstance(items_node, Listing) and not 0 < len(items_node.items) <= MOST_ITEMS:
        draft.problems.add(items_node.place, f"a form has 1 to {MOST_ITEMS} items")
    _refuse_double_links(items_node, items, draft)
    score = given.node("score")
    scored = fields(score, draft.problems, (), ("code", "title", "needs")) if score else None
    countable = sum(one.scored for one in items)
    codes = tuple(one.code for one in items)
    flags = [_flag(item, codes, draft) for item in items_of(given.node("flags"), draft.problems)]
    form = Form(
        code=code,
        title=given.text("title", title_of(code)),
        means=given.text("means"),
        items=tuple(items),
        flags=tuple(one for one in flags if one),
        same_as=tuple(text.value.partition("|")[0] for text in given.texts("same_as")),
        needs=scored.number("needs", countable or 1, most=max(countable, 1)) if scored else countable,
        score_code=_score_code(scored, draft) if scored else "",
        score_title=scored.text("title") if scored else "",
    )
    draft.forms.append(form)
    return form


def _score_code(given: Fields, draft: Draft) -> str:
    node = given.node("code")
    text = text_of(node, draft.problems) if node else ""
    if node is not None and text and not re.fullmatch(r"[^|\s]+\|[^|\s]+", text):
        draft.problems.add(node.place, f'"{text}" is not a code with its system: write "http://loinc.org|44261-6"')
        return ""
    return text


def _item(node: Node, usual: tuple[Choice, ...], draft: Draft) -> FormItem | None:
    given = fields(node, draft.problems, ("code", "text"), ("answers", "links", "least", "most", "scored"))
    if given is None:
        return None
    own, least, most = given.node("answers"), given.node("least"), given.node("most")
    if own is not None and (least or most):
        draft.problems.add(given.place, "a question has answers to choose from, or a least and a most, not both")
    is_number = least is not None or most is not None
    low = number_of(least, draft) if least else None
    high = number_of(most, draft) if most else None
    if low is not None and high is not None and low > high:
        draft.problems.add(given.place, f"{low} is more than {high}")
    return FormItem(
        code=given.code("code"),
        text=given.text("text"),
        choices=_choices(own, draft) if own is not None else () if is_number else usual,
        links=tuple(text.value for text in given.texts("links")),
        least=low,
        most=high,
        scored=given.choice("scored", ("true", "false", "yes", "no"), "true") in ("true", "yes"),
    )


def _choices(node: Node | None, draft: Draft) -> tuple[Choice, ...]:
    """`{Not at all: 0, Several days: 1}`, or a list of `{text, weight, code}`."""
    if isinstance(node, Table):
        found = [(text, number_of(weight, draft)) for text, weight in node.entries.items()]
        return tuple(Choice(text=text, weight=weight) for text, weight in found if weight is not None)
    choices: list[Choice] = []
    for item in items_of(node, draft.problems):
        given = fields(item, draft.problems, ("text", "weight"), ("code",))
        weight_node = given.node("weight") if given else None
        weight = number_of(weight_node, draft) if weight_node else None
        if given is not None and weight is not None:
            codes = tuple(text.value for text in given.texts("code"))
            choices.append(Choice(text=given.text("text"), weight=weight, codes=codes))
    return tuple(choices)


def _flag(node: Node, items: Sequence[str], draft: Draft) -> FormFlag | None:
    given = fields(node, draft.problems, ("raise",), ("at_least", "at_most", "item"))
    if given is None:
        return None
    least, most, item = given.node("at_least"), given.node("at_most"), given.node("item")
    if least is None and most is None:
        draft.problems.add(given.place, 'say from or up to which score: "at_least" or "at_most"')
    return FormFlag(
        code=given.code("raise"),
        at_least=number_of(least, draft) if least else None,
        at_most=number_of(most, draft) if most else None,
        item=draft.reference(item, "item", tuple(items)) if item else "",
    )


def _refuse_double_links(node: Node, items: Sequence[FormItem], draft: Draft) -> None:
    seen: set[str] = set()
    for item in items:
        for link in {item.code, *item.links}:
            if link in seen:
                draft.problems.add(node.place, f'two items are known as "{link}"')
            seen.add(link)
