"""What completeness rests on besides the transaction of the write itself."""

from __future__ import annotations

import pytest
from django.db.models.signals import post_save

from synchro import capture, synchronize
from synchro.models import ChangeLog, Peer
from tests.runs import LOCAL, REMOTE, logged, on_remote
from tests.testapp.models import Note


def test_what_remote_has_applied_is_not_sent_again_though_local_forgot_that_it_was():
    Note.objects.create(name="a")
    synchronize()
    # LOCAL was killed after REMOTE had committed, before it wrote that down.
    Peer.objects.using(LOCAL).update(sent_batch=0)
    rows = ChangeLog.objects.using(REMOTE).count()
    assert not synchronize().changed
    assert ChangeLog.objects.using(REMOTE).count() == rows
    assert on_remote(Note).count() == 1


def test_a_receiver_that_fails_cannot_keep_a_change_out_of_the_log():
    def fail(**kwargs):
        raise RuntimeError("a receiver of the project")

    capture.disconnect()
    post_save.connect(fail, sender=Note)
    try:
        # The project's own receivers are connected when its modules load, before synchro's.
        capture.connect()
        with pytest.raises(RuntimeError):
            Note.objects.create(name="a")
        assert len(logged(Note)) == Note.objects.count() == 1
    finally:
        post_save.disconnect(fail, sender=Note)
