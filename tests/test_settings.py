"""Settings are read late, understood in every documented form, and checked."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import override_settings

from synchro import call_synchronize, synchronize
from synchro.conf import conf
from synchro.exceptions import SynchroError
from synchro.models import ChangeLog
from tests.compare import assert_same
from tests.otherapp.models import Region
from tests.runs import REMOTE, logged, on_remote
from tests.testapp.models import Item, Label, Note, NoteProxy


def is_watched(model):
    before = ChangeLog.objects.count()
    model.objects.create(**{"code" if model is Item else "name": "x"})
    return ChangeLog.objects.count() > before


def messages(id):
    return [check for check in run_checks() if check.id == id]


# SYNCHRO_MODELS


@pytest.mark.parametrize(
    ("value", "watched", "unwatched"),
    [
        (["testapp"], [Note, Item], [Region, Group]),
        (("tests.testapp",), [Note, Item], [Region, Group]),
        (["django.contrib.auth"], [Group], [Note]),
        (["auth", "otherapp"], [Group, Region], [Note]),
        ([("testapp", "Note")], [Note], [Item]),
        ([("testapp", "note", "ITEM")], [Note, Item], [Label]),
        ([["testapp", "Note", "Item"]], [Note, Item], [Label]),
        ([("tests.testapp", "nOTE")], [Note], [Item]),
        (["testapp.Note"], [Note], [Item]),
        (["testapp.note", "testapp.ITEM"], [Note, Item], [Label]),
        (["tests.testapp.Note"], [Note], [Item]),
        ([("testapp",)], [Note, Item], [Group]),
        ([], [], [Note, Item, Group]),
    ],
)
def test_models_are_named_in_every_documented_form(value, watched, unwatched):
    with override_settings(SYNCHRO_MODELS=value):
        assert all(map(is_watched, watched))
        assert not any(map(is_watched, unwatched))


def test_a_proxy_that_is_named_watches_its_model():
    with override_settings(SYNCHRO_MODELS=["testapp.NoteProxy"]):
        assert is_watched(NoteProxy)
        assert is_watched(Note)


def test_watching_follows_the_setting_without_a_reload():
    with override_settings(SYNCHRO_MODELS=["auth"]):
        assert not is_watched(Note)
        with override_settings(SYNCHRO_MODELS=["testapp"]):
            assert is_watched(Note)
        assert not is_watched(Note)
    assert is_watched(Note)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (["nowhere"], "nowhere"),
        (["testapp.Missing"], "testapp.Missing"),
        ([("testapp", "Note", "Missing")], "Missing"),
        ([("nowhere", "Note")], "nowhere"),
        (["django.contrib.nowhere"], "django.contrib.nowhere"),
        ([5], "5"),
        ([("testapp", 5)], "5"),
        ([()], r"\(\)"),
        ("testapp", "testapp"),
        (5, "5"),
    ],
)
def test_an_entry_that_is_unknown_is_refused_by_name(value, name):
    with override_settings(SYNCHRO_MODELS=value):
        found = messages("synchro.E003")
        with pytest.raises((ImproperlyConfigured, SynchroError), match=name):
            synchronize()
    assert found
    assert name.replace("\\", "") in found[0].msg
    assert found[0].hint


def test_synchros_own_tables_are_refused():
    with override_settings(SYNCHRO_MODELS=["synchro"]):
        found = messages("synchro.E004")
        with pytest.raises((ImproperlyConfigured, SynchroError), match="ChangeLog"):
            synchronize()
    assert found
    assert found[0].hint


def test_a_write_is_not_refused_because_of_a_wrong_setting():
    with override_settings(SYNCHRO_MODELS=["nowhere", "testapp"], SYNCHRO_REMOTE="nowhere"):
        assert is_watched(Note)


# SYNCHRO_REMOTE and SYNCHRO_LOCAL


def test_a_missing_remote_is_a_warning_and_only_logs():
    with override_settings():
        del settings.SYNCHRO_REMOTE
        with pytest.warns(RuntimeWarning, match="SYNCHRO_REMOTE"):
            conf.warn_if_remote_is_missing()
        assert is_watched(Note)
        with pytest.raises((ImproperlyConfigured, SynchroError), match="SYNCHRO_REMOTE"):
            synchronize()


def test_a_project_without_a_remote_is_told_when_it_starts(child_environment):
    """In a process of its own, since the warning belongs to the start."""
    program = (
        "import warnings, django\n"
        "from tests import settings\n"
        "del settings.SYNCHRO_REMOTE\n"
        "with warnings.catch_warnings(record=True) as found:\n"
        "    warnings.simplefilter('always')\n"
        "    django.setup()\n"
        "print([w.category.__name__ for w in found if 'SYNCHRO_REMOTE' in str(w.message)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=child_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("['RuntimeWarning']", 0), done.stderr


def test_remote_none_only_logs_without_a_warning(recwarn):
    with override_settings(SYNCHRO_REMOTE=None):
        conf.warn_if_remote_is_missing()
        assert is_watched(Note)
        with pytest.raises((ImproperlyConfigured, SynchroError), match="SYNCHRO_REMOTE"):
            synchronize()
        with pytest.raises(CommandError, match="SYNCHRO_REMOTE"):
            call_command("synchronize")
    assert not [w for w in recwarn if w.category is RuntimeWarning]


@pytest.mark.parametrize("setting", ["SYNCHRO_REMOTE", "SYNCHRO_LOCAL"])
@pytest.mark.parametrize("alias", ["atlantis", 5])
def test_an_unknown_alias_is_refused_by_name(setting, alias):
    with override_settings(**{setting: alias}):
        with pytest.raises(ImproperlyConfigured, match=f"{setting}.*{alias}"):
            synchronize()
        found = messages("synchro.E001" if setting == "SYNCHRO_REMOTE" else "synchro.E002")
    assert len(found) == 1
    assert str(alias) in found[0].msg
    assert found[0].hint


def test_the_same_database_twice_is_refused():
    with override_settings(SYNCHRO_LOCAL=REMOTE):
        assert messages("synchro.E005")[0].hint
        with pytest.raises((ImproperlyConfigured, SynchroError), match=REMOTE):
            synchronize()


def test_local_may_be_any_alias():
    with override_settings(SYNCHRO_LOCAL=REMOTE, SYNCHRO_REMOTE="default"):
        Note.objects.using(REMOTE).create(name="a")
        synchronize()
    assert Note.objects.get().name == "a"


def test_a_run_may_be_given_its_remote():
    Note.objects.create(name="a")
    with override_settings(SYNCHRO_REMOTE=None):
        synchronize(REMOTE)
    assert_same(Note)


def test_a_run_refuses_a_remote_that_is_unknown():
    with pytest.raises(ImproperlyConfigured, match="atlantis"):
        synchronize("atlantis")


# The others


@pytest.mark.parametrize("size", [0, -1, "many", 1.5, True, None])
def test_a_batch_size_that_is_no_positive_whole_number_is_refused(size):
    with override_settings(SYNCHRO_BATCH_SIZE=size):
        assert messages("synchro.E006")[0].hint
        Note.objects.create(name="a")
        with pytest.raises((ImproperlyConfigured, SynchroError), match="SYNCHRO_BATCH_SIZE"):
            synchronize()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_batch_size_does_not_change_what_is_replayed(size):
    for number in range(7):
        item = Item.objects.create(code=str(number))
        Note.objects.create(name=f"note {number}")
    item.delete()
    with override_settings(SYNCHRO_BATCH_SIZE=size):
        synchronize()
    assert_same()
    assert on_remote(Note).count() == 7


@pytest.mark.parametrize("number", [-1, "often", 1.5, True, None])
def test_a_number_of_retries_that_is_no_whole_number_is_refused(number):
    with override_settings(SYNCHRO_RETRIES=number):
        assert messages("synchro.E011")[0].hint
        with pytest.raises(ImproperlyConfigured, match="SYNCHRO_RETRIES"):
            synchronize()


@pytest.mark.parametrize(
    "value", ["sometimes", {"testapp.Note": "sometimes"}, {"testapp.Missing": "save"}, 5]
)
def test_an_unknown_replay_mode_is_refused(value):
    with override_settings(SYNCHRO_REPLAY=value):
        assert messages("synchro.E007")[0].hint


def test_an_unknown_replay_mode_fails_the_run():
    Note.objects.create(name="a")
    with (
        override_settings(SYNCHRO_REPLAY="sometimes"),
        pytest.raises((ImproperlyConfigured, SynchroError), match="SYNCHRO_REPLAY"),
    ):
        synchronize()
    assert not on_remote(Note).exists()


def test_right_settings_pass_all_checks():
    with override_settings(
        SYNCHRO_MODELS=["testapp", ("auth", "user"), "otherapp.Region"],
        SYNCHRO_REPLAY={"testapp.Note": "save", "*": "auto"},
        SYNCHRO_BATCH_SIZE=10,
    ):
        assert [check for check in run_checks() if check.id.startswith("synchro.")] == []


def test_settings_of_the_project_hold_users_and_groups():
    User.objects.create(username="u")
    assert len(logged(User)) == 1
    assert call_synchronize() == "Synchronization performed successfully."
