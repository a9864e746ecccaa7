"""The translations are complete, and compiled."""

from __future__ import annotations

import gettext
import io
import re

import pytest
from django.contrib import admin
from django.contrib.admin.utils import label_for_field
from django.template import Context, Template
from django.utils import translation

from scripts import messages
from synchro.models import ChangeLog, HeldChange, Reference, SyncRun
from synchro.results import counted

LANGUAGES = ["de", "es", "fr", "pl"]

pytestmark = [
    pytest.mark.once,
    # Whoever changes a string does this, and translates what is new.
    pytest.mark.parametrize("language", LANGUAGES),
]


def folder(language):
    return messages.LOCALE / language / "LC_MESSAGES"


def catalog(language):
    return messages.read(folder(language) / "django.po")


def plural_forms(language):
    """How many there are, and which of them a number takes, as Python understands the header."""
    file = io.BytesIO(messages.compiled(catalog(language)))
    found = gettext.GNUTranslations(file)
    number = found.info()["plural-forms"].split(";")[0].removeprefix("nplurals=")
    return int(number), found.plural


def counted_texts():
    """What the templates have in {% blocktranslate count %}."""
    for file in sorted((messages.PACKAGE / "templates").rglob("*.html")):
        yield from re.findall(
            r"{% blocktranslate count number=\S+ %}.*?{% endblocktranslate %}",
            file.read_text("utf-8"),
            re.DOTALL,
        )


def rendered(text, number):
    text = re.sub(r"count number=\S+", "count number=number", text)
    return Template("{% load i18n %}" + text).render(Context({"number": number}))


def test_every_string_is_there_and_no_other(language):
    found = catalog(language).messages
    expected = messages.strings()
    hint = "run scripts/messages.py and translate what is new"
    assert set(found) == set(expected), hint
    assert {name: each.plural for name, each in found.items()} == {
        name: each.plural for name, each in expected.items()
    }, hint


def test_every_string_is_translated(language):
    forms, _form = plural_forms(language)
    for message in catalog(language).messages.values():
        assert not message.fuzzy, message.singular
        needed = 1 if message.plural is None else forms
        assert len(message.translations) == needed, message.singular
        assert all(message.translations), message.singular


def test_the_header_has_a_form_for_every_number_and_no_form_too_many(language):
    forms, form = plural_forms(language)
    assert {form(number) for number in [*range(1000), 1_000_000]} == set(range(forms)) - {
        # Fractions only, in Polish: Django counts whole things.
        "pl": {3},
    }.get(language, set())


def test_a_catalog_with_a_form_missing_is_not_complete(language):
    found = catalog(language)
    message = next(each for each in found.messages.values() if each.plural is not None)
    assert found.is_complete(message)
    message.translations.pop()
    assert not found.is_complete(message)
    assert message.key.encode() not in messages.compiled(found)


def test_placeholders_and_blanks_at_the_ends_are_kept(language):
    _forms, form = plural_forms(language)
    # "Discard the change" needs no number, where the form is that of one thing (or of none) only.
    of_one = {number for number in range(1000) if form(number) == form(1)} <= {0, 1}
    for message in catalog(language).messages.values():
        original = message.plural or message.singular
        for index, text in enumerate(message.translations):
            allowed = [messages.placeholders(original)]
            if message.plural is not None and of_one and index == form(1):
                allowed.append(messages.placeholders(message.singular))
            assert messages.placeholders(text) in allowed, text
            indent = len(original) - len(original.lstrip())
            assert len(text) - len(text.lstrip()) == indent, text
            assert original.endswith("\n") == text.endswith("\n"), text


def test_the_compiled_catalog_is_that_of_the_text(language):
    found = (folder(language) / "django.mo").read_bytes()
    assert found == messages.compiled(catalog(language)), "run scripts/messages.py"


def test_the_text_is_as_the_script_writes_it(language, tmp_path):
    file = folder(language) / "django.po"
    messages.write(tmp_path / "django.po", messages.read(file))
    assert (tmp_path / "django.po").read_text("utf-8") == file.read_text("utf-8")


def test_django_speaks_it(language):
    # (Words that Django's admin translates as well, such as "Add", are the admin's.)
    found = catalog(language).messages
    with translation.override(language):
        for text in ("Synchronize", "Synchronization performed successfully.", "peers"):
            assert [translation.gettext(text)] == found[text].translations


def test_a_word_that_the_admin_has_too_does_not_take_its_place(language):
    # "Delete" is a button there, and a kind of change here, whichever app is installed first.
    alone = {each.singular for each in catalog(language).messages.values() if not each.context}
    assert not {"Add", "Change", "Delete", "View"} & alone
    with translation.override(language):
        assert translation.pgettext("kind of change", "Delete") != translation.gettext("Delete")


def test_templates_count_as_the_language_does(language):
    _forms, form = plural_forms(language)
    translations = {}
    for each in catalog(language).messages.values():
        translations[each.singular] = each.translations
    texts = list(counted_texts())
    assert len(texts) > 5
    for text in texts:
        singular = re.search(r"%}(.*?){% plural %}", text, re.DOTALL)[1]
        forms = translations[singular.replace("{{ number }}", "%(number)s")]
        with translation.override(language):
            for number in (1, 2, 5, 22):
                expected = forms[form(number)] % {"number": number}
                assert rendered(text, number) == expected


def test_templates_say_one_two_and_five(language):
    said = {
        "de": ["1 Objekt", "2 Objekte", "5 Objekte"],
        "es": ["1 objeto", "2 objetos", "5 objetos"],
        "fr": ["1 objet", "2 objets", "5 objets"],
        "pl": ["1 obiekt", "2 obiekty", "5 obiektów"],
    }
    text = next(text for text in counted_texts() if "{{ number }} object{%" in text)
    with translation.override(language):
        assert [rendered(text, number) for number in (1, 2, 5)] == said[language]


def test_what_a_run_did_is_said_in_whole_phrases(language):
    said = {
        "de": ["1 angelegt", "2 angelegt"],
        "es": ["1 creado", "2 creados"],
        "fr": ["1 créé", "2 créés"],
        "pl": ["dodano 1", "dodano 2"],
    }
    with translation.override(language):
        assert [counted("create", number) for number in (1, 2)] == said[language]


@pytest.mark.parametrize("model", [ChangeLog, HeldChange, Reference, SyncRun])
def test_columns_and_filters_of_the_lists_have_names_to_translate(language, model):
    known = catalog(language).messages
    options = admin.site.get_model_admin(model)
    fields = [name for name in options.list_filter if isinstance(name, str)]
    for name in (*options.list_display, *fields):
        with translation.override("en"):
            text = str(label_for_field(name, model, options))
        with translation.override(language):
            assert [label_for_field(name, model, options)] == known[text].translations


def test_templates_have_no_text_that_is_not_translated(language):
    for file in sorted((messages.PACKAGE / "templates").rglob("*.html")):
        text = file.read_text("utf-8")
        text = re.sub(r"{% blocktranslate.*?{% endblocktranslate %}", "", text, flags=re.DOTALL)
        text = re.sub(r"{[%#{].*?[%#}]}", "", text, flags=re.DOTALL)
        shown = re.findall(r' (?:alt|aria-label|placeholder|title)="(.*?)"', text)
        for button in re.findall(r'<input type="submit".*?>', text):
            shown += re.findall(r' value="(.*?)"', button)
        shown += re.sub(r"<.*?>|&\w+;", " ", text, flags=re.DOTALL).split()
        assert not [word for word in shown if re.search(r"[A-Za-z]", word)], file.name
