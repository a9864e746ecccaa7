"""What test_swapped_user.py runs in a process of its own."""

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.models import Group, Permission  # noqa: E402
from django.core.management import call_command  # noqa: E402

from synchro import DisableSynchroLog, synchronize  # noqa: E402
from tests.swapped.models import Profile  # noqa: E402

for alias in ("default", "remote"):
    call_command("migrate", database=alias, run_syncdb=True, verbosity=0)

User = get_user_model()
with DisableSynchroLog():
    User.objects.using("remote").create(username="theirs")
    User.objects.using("remote").create(username="ada", nickname="old")
ada = User.objects.create_user("ada", "ada@example.com", "secret", nickname="new")
bob = User.objects.create_user("bob", sponsor=ada)
Profile.objects.create(user=bob, motto="m")
group = Group.objects.create(name="g")
group.permissions.add(Permission.objects.get(codename="change_profile"))
bob.groups.add(group)
synchronize()

there = User.objects.using("remote")
assert sorted(there.values_list("username", flat=True)) == ["ada", "bob", "theirs"]
assert there.get(username="ada").nickname == "new"
assert there.get(username="ada").check_password("secret")
assert there.get(username="bob").sponsor.username == "ada"
assert there.get(username="bob").profile.motto == "m"
(their_group,) = there.get(username="bob").groups.all()
assert [row.codename for row in their_group.permissions.all()] == ["change_profile"]

bob.delete()
synchronize()
assert sorted(there.values_list("username", flat=True)) == ["ada", "theirs"]
assert not Profile.objects.using("remote").exists()
assert synchronize().changed is False
print("done")
