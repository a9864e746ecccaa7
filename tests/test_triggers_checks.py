"""System checks of SYNCHRO_CAPTURE, and foreign keys that the database itself looks after."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from synchro import checks, synchronize
from synchro.conf import conf
from synchro.models import CHANGE, DELETION, ChangeLog
from synchro.sealing import seal
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, on_remote
from tests.testapp.models import Block, Quarry, Statue
from tests.triggered import triggers, vendor

DB_CASCADE = hasattr(models, "DB_CASCADE")


def settings_problems() -> list[str]:
    return [m.msg for m in checks.check_settings() if m.id == "synchro.E013"]


# E013


@pytest.mark.parametrize(
    ("capture", "named"),
    [
        ("trigger", ["'trigger'", "'*'"]),
        (None, ["None", "'*'"]),
        ({"testapp.Note": "trigers"}, ["'trigers'", "'testapp.note'"]),
        ({"testapp.Nothing": "triggers"}, ["'testapp.nothing'", "no installed model"]),
        ({"Note": "triggers"}, ["'note'", "no installed model"]),
    ],
)
def test_a_wrong_setting_is_named(capture, named):
    with override_settings(SYNCHRO_CAPTURE=capture):
        (message,) = settings_problems()
    for text in named:
        assert text in message


@pytest.mark.parametrize(
    "capture", ["signals", "triggers", {"testapp.Note": "triggers", "*": "signals"}, {}]
)
def test_a_right_setting_is_no_problem(capture):
    with override_settings(SYNCHRO_CAPTURE=capture):
        assert settings_problems() == []


def test_a_wrong_setting_counts_as_signals():
    with override_settings(SYNCHRO_CAPTURE="trigger"):
        assert not conf.uses_triggers


# W004


@isolate_apps("tests.testapp")
def test_models_that_triggers_cannot_write_down_are_named(monkeypatch):
    class Lap(models.Model):
        span = models.DurationField(primary_key=True)

        class Meta:
            app_label = "testapp"

    class Race(models.Model):
        laps = models.ManyToManyField(Lap)

        class Meta:
            app_label = "testapp"

    class Engine(models.Model):
        class Meta:
            app_label = "testapp"

    class Steam(Engine):
        class Meta:
            app_label = "testapp"

    with override_settings(SYNCHRO_CAPTURE={"*": "triggers", "testapp.Lap": "triggers"}):
        monkeypatch.setitem(conf.__dict__, "valid_models", frozenset({Lap, Race, Steam}))
        found = {m.msg.partition(" is captured")[0]: m for m in checks.check_capture()}
    assert {m.id for m in found.values()} == {"synchro.W004"}
    assert set(found) == {"testapp.Lap", "testapp.Race.laps", "testapp.Steam"}
    assert "span (DurationField)" in found["testapp.Lap"].msg
    assert "the key of testapp.Lap" in found["testapp.Race.laps"].msg
    assert "its parent testapp.Engine is not captured" in found["testapp.Steam"].msg
    assert "'testapp.Steam': 'signals'" in str(found["testapp.Steam"].hint)


@isolate_apps("tests.testapp")
def test_models_with_signals_confirmed_are_not_named(monkeypatch):
    class Lap(models.Model):
        span = models.DurationField(primary_key=True)

        class Meta:
            app_label = "testapp"

    with override_settings(SYNCHRO_CAPTURE={"*": "triggers", "testapp.Lap": "signals"}):
        monkeypatch.setitem(conf.__dict__, "valid_models", frozenset({Lap}))
        assert checks.check_capture() == []


# W005, and what DB_CASCADE comes to


@pytest.mark.skipif(not DB_CASCADE, reason="DB_CASCADE came with Django 6.1")
def test_cascades_without_triggers_are_named():
    with override_settings(SYNCHRO_CAPTURE="triggers"):
        found = [m for m in checks.check_capture() if m.id == "synchro.W005"]
    if vendor(LOCAL) != "mysql" and vendor(REMOTE) != "mysql":
        assert found == []
        return
    assert [m.msg.partition(" ")[0] for m in found] == [
        "testapp.Block.quarry",
        "testapp.Statue.block",
    ]
    assert found[0].obj is Block


@pytest.fixture
def captured() -> Iterator[None]:
    names = ("Quarry", "Block", "Statue")
    with triggers({"*": "signals", **{f"testapp.{name}": "triggers" for name in names}}):
        yield


@pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
def test_what_the_database_cascades_is_logged_where_it_calls_triggers(captured):
    quarry = Quarry.objects.create(name="q")
    block = Block.objects.create(name="b", quarry=quarry)
    statue = Statue.objects.create(name="s", block=block)
    synchronize()
    ChangeLog.objects.all().delete()
    expected = {("testapp.quarry", str(quarry.pk), DELETION)}
    if not DB_CASCADE or vendor() != "mysql":
        expected |= {
            ("testapp.block", str(block.pk), DELETION),
            ("testapp.statue", str(statue.pk), CHANGE),
        }
    quarry.delete()
    seal(LOCAL)
    assert set(ChangeLog.objects.values_list("label", "object_id", "action")) == expected
    synchronize()
    assert_same(Quarry, Block, Statue)
    assert on_remote(Statue).get().block_id is None
