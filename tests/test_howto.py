"""The commands and the code on the pages about previews, comparing, held changes and monitoring
run as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from synchro import synchronize
from synchro.hooks import post_synchronize
from tests.compare import assert_same
from tests.runs import on_remote
from tests.testapp.models import Item, Note

HOWTO = Path(__file__).resolve().parent.parent / "docs" / "howto"
PAGES = ("preview", "compare", "held-changes", "monitoring")
# The pages speak of a shop; the commands are run on the tests' models.
NAMES = {"orders.Order": "testapp.Note", "orders.order": "testapp.note", "office": "remote"}


def text(page):
    found = (HOWTO / f"{page}.rst").read_text("utf-8")
    for theirs, ours in NAMES.items():
        found = found.replace(theirs, ours)
    return found


def blocks(page, language):
    pattern = rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)"
    for block in re.findall(pattern, text(page), re.M):
        yield re.sub(r"^    ", "", block, flags=re.M)


def commands(page):
    return [
        line.removeprefix("manage.py ")
        for block in blocks(page, "text")
        for line in block.splitlines()
        if line.startswith("manage.py ")
    ]


@pytest.fixture(autouse=True)
def changes(tmp_path, monkeypatch):
    """Something of every kind is pending; what the commands write goes to a folder of its own."""
    monkeypatch.chdir(tmp_path)
    note, item = Note.objects.create(name="old"), Item.objects.create(code="gone")
    synchronize()
    note.name = "new"
    note.save()
    item.delete()
    Note.objects.create(name="other")


@pytest.mark.once
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page, capsys):
    found = commands(page)
    assert found
    watched = [f"testapp.{name}" for name in ("Note", "Item")]
    with override_settings(SYNCHRO_MODELS=watched):
        for command in found:
            try:
                call_command(*shlex.split(command))
            except CommandError as error:
                pytest.fail(f"{command}: {error}")
    assert capsys.readouterr().out


@pytest.mark.once
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page):
    before = list(post_synchronize.receivers)
    watched = [f"testapp.{name}" for name in ("Note", "Item")]
    try:
        with override_settings(SYNCHRO_MODELS=watched):
            for code in blocks(page, "python"):
                exec(compile(code, page, "exec"), {})
            synchronize()
    finally:
        post_synchronize.receivers[:] = before
        post_synchronize.sender_receivers_cache.clear()
    assert_same(Note, Item)
    assert on_remote(Note).count() == 2
