"""The translations are complete, and compiled."""

from __future__ import annotations

import gettext
import io

import pytest
from django.utils import translation

from scripts import messages

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
    file = io.BytesIO(messages.compiled(catalog(language)))
    info = gettext.GNUTranslations(file).info()
    return int(info["plural-forms"].split(";")[0].removeprefix("nplurals="))


def test_every_string_is_there_and_no_other(language):
    found = catalog(language).messages
    expected = messages.strings()
    hint = "run scripts/messages.py and translate what is new"
    assert set(found) == set(expected), hint
    assert {name: each.plural for name, each in found.items()} == {
        name: each.plural for name, each in expected.items()
    }, hint


def test_every_string_is_translated(language):
    for message in catalog(language).messages.values():
        assert not message.fuzzy, message.singular
        forms = 1 if message.plural is None else plural_forms(language)
        assert len(message.translations) == forms, message.singular
        assert all(message.translations), message.singular


def test_placeholders_and_blanks_at_the_ends_are_kept(language):
    for message in catalog(language).messages.values():
        original = message.plural or message.singular
        for text in message.translations:
            assert messages.placeholders(text) == messages.placeholders(original), text
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
