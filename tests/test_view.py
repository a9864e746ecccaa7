"""The staff page with its two buttons."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse

from synchro import DisableSynchroLog
from synchro.exceptions import SynchroError
from synchro.models import ChangeLog
from tests.compare import assert_same
from tests.runs import occupy, on_remote
from tests.testapp.models import Note, Seat

URL = "/synchro/"


@pytest.fixture
def staff(client):
    with DisableSynchroLog():
        client.force_login(User.objects.create(username="staff", is_staff=True))
    return client


def test_its_address_has_a_name():
    assert reverse("synchro:synchro") == URL


@pytest.mark.parametrize("method", ["get", "post"])
def test_it_is_for_staff_only(client, method):
    Note.objects.create(name="a")
    send = getattr(client, method)
    assert send(URL, {"synchro": "1"}).status_code == 302
    with DisableSynchroLog():
        client.force_login(User.objects.create(username="somebody"))
    assert send(URL, {"synchro": "1"}).status_code in (302, 403)
    assert not on_remote(Note).exists()


def test_it_shows_both_buttons(staff):
    page = staff.get(URL)
    assert page.status_code == 200
    assert page.templates
    assert 'name="synchro"' in page.content.decode()
    assert 'name="reset"' in page.content.decode()


def test_looking_at_it_does_nothing(staff):
    Note.objects.create(name="a")
    staff.get(URL, {"synchro": "1", "reset": "1"})
    assert not on_remote(Note).exists()
    assert ChangeLog.objects.exists()


def test_synchronize_synchronizes_and_says_so(staff):
    Note.objects.create(name="a")
    response = staff.post(URL, {"synchro": "1"}, follow=True)
    assert response.status_code == 200
    assert "Synchronization performed successfully." in response.content.decode()
    assert_same(Note)
    response = staff.post(URL, {"synchro": "1"}, follow=True)
    assert "No changes since last synchronization." in response.content.decode()


def test_reset_resets_and_says_so(staff):
    Note.objects.create(name="a")
    response = staff.post(URL, {"reset": "1"}, follow=True)
    assert not ChangeLog.objects.exists()
    assert "Synchronization has been reset." in response.content.decode()


def test_reset_is_hidden_and_refused_where_it_is_not_allowed(staff):
    Note.objects.create(name="a")
    with override_settings(SYNCHRO_ALLOW_RESET=False):
        assert 'name="reset"' not in staff.get(URL).content.decode()
        response = staff.post(URL, {"reset": "1"}, follow=True)
        assert "Synchronization has been reset." not in response.content.decode()
    assert ChangeLog.objects.exists()


def test_an_error_is_shown(staff):
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    response = staff.post(URL, {"synchro": "1"}, follow=True)
    assert response.status_code == 200
    assert "testapp.seat" in response.content.decode().lower()
    assert on_remote(Seat).count() == 1


def test_an_error_goes_through_where_that_is_asked_for(staff):
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    with override_settings(SYNCHRO_DEBUG=True), pytest.raises(SynchroError):
        staff.post(URL, {"synchro": "1"})


def test_a_missing_remote_is_an_error_on_the_page(staff):
    with override_settings(SYNCHRO_REMOTE=None):
        response = staff.post(URL, {"synchro": "1"}, follow=True)
    assert response.status_code == 200
    assert "SYNCHRO_REMOTE" in response.content.decode()


def test_what_an_error_says_is_escaped(staff):
    occupy(Seat, name="theirs", position=1)
    with override_settings(SYNCHRO_REMOTE="<b>atlantis</b>"):
        response = staff.post(URL, {"synchro": "1"}, follow=True)
    assert "<b>atlantis</b>" not in response.content.decode()


def test_a_post_from_elsewhere_is_refused():
    client = Client(enforce_csrf_checks=True)
    with DisableSynchroLog():
        client.force_login(User.objects.create(username="staff", is_staff=True))
    Note.objects.create(name="a")
    assert client.post(URL, {"synchro": "1"}).status_code == 403
    assert not on_remote(Note).exists()


def test_it_speaks_the_language_of_its_reader(staff):
    page = staff.get(URL, headers={"accept-language": "pl"}).content.decode()
    assert page != staff.get(URL, headers={"accept-language": "en"}).content.decode()
    assert 'name="synchro"' in page
