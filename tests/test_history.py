"""What a run wrote is kept with it, as compressed JSON."""

from __future__ import annotations

import json
import zlib

from synchro import history, synchronize
from synchro.models import SyncRun
from tests.runs import on_remote
from tests.testapp.models import Item, Label, Note, Paper


def written() -> list[tuple[str, str, list[list[str | None]]]]:
    return history.objects_of(SyncRun.objects.latest("pk"))


def test_a_run_remembers_the_keys_of_what_it_wrote(monkeypatch):
    monkeypatch.setattr(history, "_PORTION", 2)
    notes = [Note.objects.create(name=name) for name in "abcde"]
    paper = Paper.objects.create(title="Prices")
    paper.labels.add(Label.objects.create(name="draft"))
    keys = [str(note.pk) for note in notes]
    synchronize()
    found = {(label, action): pairs for label, action, pairs in written()}
    assert [key for key, _ in found["testapp.note", "create"]] == keys
    assert [key for key, _ in found["testapp.paper", "link"]] == [str(paper.pk)]
    there = dict(found["testapp.note", "create"])
    assert on_remote(Note).get(name="c").pk == int(there[keys[2]])
    gone = notes[0]
    gone.delete()
    synchronize()
    assert [key for key, _ in written()[0][2]] == keys[:1]


def test_keys_that_are_texts_are_remembered_as_they_are(monkeypatch):
    monkeypatch.setattr(history, "_PORTION", 2)
    texts = ["a", 'b"c', "Zürich, [1]", "4", "5"]
    for text in texts:
        Item.objects.create(pk=text)
    synchronize()
    ((label, action, pairs),) = written()
    assert (label, action) == ("testapp.item", "create")
    assert sorted(pairs) == sorted([text, text] for text in texts)


def test_only_the_first_objects_are_remembered(monkeypatch):
    monkeypatch.setattr(history, "_OBJECTS", 3)
    for name in "abcd":
        Note.objects.create(name=name)
    for name in "abcd":
        Item.objects.create(pk=name)
    synchronize()
    assert sum(len(pairs) for _label, _action, pairs in written()) == 3
    run = SyncRun.objects.latest("pk")
    assert run.objects_written == 8


def test_a_run_that_wrote_nothing_remembers_nothing():
    note = Note.objects.create(name="a")
    synchronize()
    note.delete()
    on_remote(Note).delete()
    synchronize()
    run = SyncRun.objects.latest("pk")
    assert json.loads(zlib.decompress(run.written)) == []
    assert written() == []
