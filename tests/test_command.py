"""manage.py synchronize"""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import translation

from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, on_remote
from tests.testapp.models import Item, Label, Note, Paper


def run(*arguments, **options):
    output = io.StringIO()
    call_command("synchronize", *arguments, stdout=output, **options)
    return output.getvalue()


def test_it_says_that_there_was_nothing_to_do():
    assert run().strip() == "No changes since last synchronization."


def test_it_says_what_was_done_by_model():
    item = Item.objects.create(code="a")
    run()
    item.delete()
    paper = Paper.objects.create(title="p")
    paper.labels.add(Label.objects.create(name="l"))
    for number in range(3):
        Note.objects.create(name=str(number))
    lines = run().splitlines()
    assert lines[0] == "Synchronization performed successfully."
    assert_same()

    def line(label):
        (found,) = [line for line in lines if label in line.lower()]
        return found

    assert "3" in line("testapp.note")
    assert "1" in line("testapp.item")
    assert "delete" in line("testapp.item").lower()


def test_it_is_silent_when_told():
    Note.objects.create(name="a")
    assert run(verbosity=0) == ""
    assert_same()


@pytest.mark.by_signals("a save() that changes nothing is logged")
def test_it_reports_what_was_not_applied():
    note = Note.objects.create(name="a")
    run()
    note.save()
    age(LOCAL)
    on_remote(Note).get().save()
    output = run()
    assert "testapp.note" in output.lower()
    assert str(note.pk) in output


def test_it_shows_its_progress_on_a_terminal_only():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def shown(output):
        for number in range(5):
            Note.objects.create(name=str(number))
        with override_settings(SYNCHRO_BATCH_SIZE=2):
            call_command("synchronize", stdout=output, stderr=output)
        return output.getvalue()

    plain, moving = shown(io.StringIO()), shown(Terminal())
    assert "\r" not in plain
    assert len(moving) > len(plain)


def test_it_takes_a_remote():
    Note.objects.create(name="a")
    with override_settings(SYNCHRO_REMOTE=None):
        run("--remote", REMOTE)
    assert_same()


def test_it_refuses_an_unknown_remote_in_one_line():
    with pytest.raises(CommandError, match="atlantis") as caught:
        run("--remote", "atlantis")
    assert "\n" not in str(caught.value)


def test_it_refuses_wrong_settings_in_one_line():
    with (
        override_settings(SYNCHRO_REMOTE="atlantis"),
        pytest.raises(CommandError, match="atlantis") as caught,
    ):
        run(skip_checks=True)
    assert "\n" not in str(caught.value)


def test_it_refuses_to_run_without_a_remote():
    with (
        override_settings(SYNCHRO_REMOTE=None),
        pytest.raises(CommandError, match="SYNCHRO_REMOTE"),
    ):
        run()


def test_it_speaks_the_language_of_the_site():
    with translation.override("pl"):
        assert run().strip() != "No changes since last synchronization."


@pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
def test_its_exit_status_tells_success_from_failure(child_environment):
    def status(*arguments):
        command = [sys.executable, "-m", "django", "synchronize", *arguments]
        return subprocess.run(
            command, env=child_environment, capture_output=True, text=True, check=False
        )

    Note.objects.create(name="a")
    done = status()
    assert (done.returncode, done.stderr) == (0, "")
    assert "Synchronization performed successfully." in done.stdout
    assert_same()
    failed = status("--remote", "atlantis")
    assert failed.returncode == 1
    assert "atlantis" in failed.stderr
    assert "Traceback" not in failed.stderr
