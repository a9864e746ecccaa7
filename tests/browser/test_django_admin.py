"""Django's own admin pages do what synchro's have to: so a finding in synchro's is synchro's."""

from __future__ import annotations

import pytest
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User

from tests.browser.axe import assert_nothing_serious
from tests.browser.looks import DESKTOP, PHONE, assert_fits

pytestmark = pytest.mark.once

PAGES = ["user/", "user/?q=a", "user/1/change/", "group/add/", "user/1/delete/", "user/1/history/"]


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_its_faults_are_known(open_page, staff, axe, monkeypatch, size, scheme):
    monkeypatch.setattr(UserAdmin, "search_help_text", "Name", raising=False)
    Group.objects.create(name="writers")
    User.objects.create(pk=staff.pk + 1, username="reader")
    page = open_page(staff, **size, scheme=scheme)
    for address in PAGES:
        page.goto("/admin/auth/" + address.replace("1", str(staff.pk)))
        assert_fits(page)
        assert_nothing_serious(axe(page))
