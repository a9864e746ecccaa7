"""What is logged, what is not, and how logging is suspended."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections, transaction
from django.db.migrations.state import ProjectState
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import receiver
from django.test import override_settings
from django.utils import timezone

from synchro import DisableSynchroLog, disable_synchro_log
from synchro.models import ADDITION, CHANGE, DELETION, M2M_CHANGE, ChangeLog
from tests.otherapp.models import Collection, Region, Remark
from tests.runs import LOCAL, REMOTE, logged
from tests.testapp.models import (
    Author,
    Book,
    Chapter,
    City,
    Club,
    Country,
    Fan,
    Friend,
    Item,
    Label,
    Member,
    Membership,
    Note,
    NoteProxy,
    Paper,
    PaperProxy,
    Reading,
    Slot,
    Token,
)


def pk(row):
    return str(row.pk)


def forget():
    ChangeLog.objects.all().delete()


# What is logged


def test_a_new_row_is_logged_as_an_addition():
    before = timezone.now()
    note = Note.objects.create(name="a")
    log = ChangeLog.objects.get()
    assert (log.label, log.object_id, log.action) == ("testapp.note", pk(note), ADDITION)
    assert log.content_type.model_class() is Note
    assert log.object == note
    assert before <= log.date <= timezone.now()
    assert log.batch is None
    assert not log.origin


@pytest.mark.by_signals("a save() that changes nothing is logged")
def test_saving_a_row_again_is_logged_as_a_change():
    note = Note.objects.create(name="a")
    note.save()
    note.save(update_fields=["name"])
    assert {action for _, action in logged(Note)} == {ADDITION, CHANGE}
    assert logged(Note)[-1] == (pk(note), CHANGE)


def test_deleting_a_row_is_logged():
    note = Note.objects.create(name="a")
    key = pk(note)
    note.delete()
    assert logged(Note)[-1] == (key, DELETION)


def test_deleting_a_queryset_is_logged_row_by_row():
    keys = [pk(Note.objects.create(name=name)) for name in "ab"]
    forget()
    Note.objects.all().delete()
    assert sorted(logged(Note)) == sorted((key, DELETION) for key in keys)


def test_rows_that_a_delete_takes_along_are_logged():
    author = Author.objects.create(name="a")
    book = Book.objects.create(title="b", author=author)
    chapter = Chapter.objects.create(title="c", book=book)
    keys = pk(author), pk(book), pk(chapter)
    forget()
    author.delete()
    assert (logged(Author), logged(Book), logged(Chapter)) == tuple(
        [(key, DELETION)] for key in keys
    )


@pytest.mark.parametrize("change", ["add", "set", "remove", "clear"])
def test_links_are_logged_on_the_owner_of_the_field(change):
    paper, label = Paper.objects.create(title="p"), Label.objects.create(name="l")
    if change in ("remove", "clear"):
        paper.labels.add(label)
    forget()
    arguments = {"add": [label], "set": [[label]], "remove": [label], "clear": []}[change]
    getattr(paper.labels, change)(*arguments)
    assert set(logged(Paper)) == {(pk(paper), M2M_CHANGE)}
    assert set(ChangeLog.objects.values_list("field", flat=True)) == {"labels"}
    assert logged(Label) == []


@pytest.mark.parametrize("change", ["add", "set", "remove", "clear"])
def test_links_made_from_the_other_side_are_logged_on_the_owner_too(change):
    papers = [Paper.objects.create(title=title) for title in "pq"]
    label = Label.objects.create(name="l")
    if change in ("remove", "clear"):
        label.papers.set(papers)
    forget()
    arguments = {"add": papers, "set": [papers], "remove": papers, "clear": []}[change]
    getattr(label.papers, change)(*arguments)
    assert set(logged(Paper)) == {(pk(paper), M2M_CHANGE) for paper in papers}
    assert logged(Label) == []


@pytest.mark.parametrize("change", ["add", "remove", "clear"])
def test_symmetrical_links_are_logged_on_both_ends(change):
    one, two = Friend.objects.create(name="1"), Friend.objects.create(name="2")
    if change != "add":
        one.friends.add(two)
    forget()
    getattr(one.friends, change)(*([] if change == "clear" else [two]))
    assert set(logged(Friend)) == {(pk(one), M2M_CHANGE), (pk(two), M2M_CHANGE)}


def test_one_way_links_to_the_same_model_are_logged_on_the_end_that_owns_them():
    star, fan = Fan.objects.create(name="star"), Fan.objects.create(name="fan")
    forget()
    star.followers.add(fan)
    assert set(logged(Fan)) == {(pk(fan), M2M_CHANGE)}


def test_rows_of_an_explicit_through_model_are_logged_themselves():
    club, member = Club.objects.create(name="c"), Member.objects.create(name="m")
    link = Membership.objects.create(club=club, member=member)
    key = pk(link)
    link.role = "chair"
    link.save()
    link.delete()
    assert [action for _, action in logged(Membership)] == [ADDITION, CHANGE, DELETION]
    assert {object_id for object_id, _ in logged(Membership)} == {key}


def test_rows_of_an_explicit_through_model_made_by_add_are_logged():
    club, member = Club.objects.create(name="c"), Member.objects.create(name="m")
    club.members.add(member, through_defaults={"role": "chair"})
    assert logged(Membership) == [(pk(Membership.objects.get()), ADDITION)]


@pytest.mark.parametrize("change", ["remove", "clear", "set"])
@pytest.mark.parametrize("side", ["forward", "reverse"])
def test_rows_of_an_explicit_through_model_that_go_by_the_manager_are_logged(change, side):
    club, member = Club.objects.create(name="c"), Member.objects.create(name="m")
    key = pk(Membership.objects.create(club=club, member=member))
    manager, other = (club.members, member) if side == "forward" else (member.clubs, club)
    forget()
    getattr(manager, change)(*{"remove": [other], "clear": [], "set": [[]]}[change])
    assert (key, DELETION) in logged(Membership)


@pytest.mark.by_signals("it changes SYNCHRO_MODELS, not the triggers")
@pytest.mark.parametrize("watched", ["Club", "Member"])
def test_a_through_model_is_watched_where_either_side_is(watched):
    with override_settings(SYNCHRO_MODELS=[("testapp", watched)]):
        club, member = Club.objects.create(name="c"), Member.objects.create(name="m")
        link = Membership.objects.create(club=club, member=member)
    assert logged(Membership) == [(pk(link), ADDITION)]
    assert len(logged(Club) + logged(Member)) == 1


@pytest.mark.parametrize("watched", ["Paper", "Label"])
def test_links_are_logged_where_either_side_is_watched(watched):
    with override_settings(SYNCHRO_MODELS=[("testapp", watched)]):
        paper, label = Paper.objects.create(title="p"), Label.objects.create(name="l")
        forget()
        paper.labels.add(label)
    assert set(logged(Paper)) == {(pk(paper), M2M_CHANGE)}


@pytest.mark.by_signals("it changes SYNCHRO_MODELS, not the triggers")
def test_links_between_models_of_which_neither_is_watched_are_not_logged():
    with override_settings(SYNCHRO_MODELS=[("testapp", "Note")]):
        Paper.objects.create(title="p").labels.add(Label.objects.create(name="l"))
    assert not ChangeLog.objects.exists()


def test_links_of_an_unwatched_owner_to_a_watched_model_are_logged():
    collection, note = Collection.objects.create(name="c"), Note.objects.create(name="n")
    forget()
    collection.notes.add(note)
    assert set(logged(Collection)) == {(pk(collection), M2M_CHANGE)}


@pytest.mark.by_signals("a save() that changes nothing is logged")
def test_a_save_through_a_proxy_is_logged_as_one_of_its_model():
    note = NoteProxy.objects.create(name="a")
    key = pk(note)
    note.save()
    note.delete()
    assert [action for _, action in logged(Note)] == [ADDITION, CHANGE, DELETION]
    assert set(ChangeLog.objects.values_list("object_id", flat=True)) == {key}


def test_links_made_through_a_proxy_are_logged_as_ones_of_its_model():
    paper, label = PaperProxy.objects.create(title="p"), Label.objects.create(name="l")
    forget()
    paper.labels.add(label)
    assert set(logged(Paper)) == {(pk(paper), M2M_CHANGE)}


def test_a_composite_key_is_logged_so_that_it_names_one_row():
    Slot.objects.create(room="a", hour=11, title="x")
    Slot.objects.create(room="a1", hour=1, title="y")
    assert len({object_id for object_id, _ in logged(Slot)}) == 2


def test_a_uuid_key_is_logged_as_text():
    token = Token.objects.create(name="a")
    assert logged(Token) == [(str(token.pk), ADDITION)]


def test_a_long_key_is_logged_whole():
    code = "x" * 50
    Item.objects.create(code=code)
    assert logged(Item) == [(code, ADDITION)]


def test_what_this_process_writes_on_remote_is_logged_on_remote_only():
    note = Note.objects.using(REMOTE).create(name="a")
    assert logged(Note, REMOTE) == [(pk(note), ADDITION)]
    assert logged(Note, LOCAL) == []
    note.delete()
    assert [action for _, action in logged(Note, REMOTE)] == [ADDITION, DELETION]


def test_links_made_on_remote_are_logged_on_remote_only():
    paper = Paper.objects.using(REMOTE).create(title="p")
    paper.labels.add(Label.objects.using(REMOTE).create(name="l"))
    assert (pk(paper), M2M_CHANGE) in logged(Paper, REMOTE)
    assert not ChangeLog.objects.exists()


def test_rows_are_logged_where_no_remote_is_set():
    with override_settings(SYNCHRO_REMOTE=None):
        note = Note.objects.create(name="a")
    assert logged(Note) == [(pk(note), ADDITION)]


def test_a_fixture_is_logged_like_any_save_even_where_children_come_first():
    call_command("loaddata", "children_first", verbosity=0)
    assert logged(City) == [("900001", ADDITION)]
    assert logged(Country) == [("900002", ADDITION)]


@pytest.mark.by_signals("it sends signals by hand")
def test_a_signal_sent_by_hand_without_created_and_using_is_logged_as_a_change():
    note = Note.objects.create(name="a")
    forget()
    post_save.send(sender=Note, instance=note)
    assert logged(Note) == [(pk(note), CHANGE)]


@pytest.mark.by_signals("it sends signals by hand")
def test_a_signal_sent_by_hand_about_a_row_of_remote_is_logged_there():
    note = Note.objects.using(REMOTE).create(name="a")
    ChangeLog.objects.using(REMOTE).all().delete()
    post_save.send(sender=Note, instance=note)
    assert logged(Note, REMOTE) == [(pk(note), CHANGE)]
    assert logged(Note, LOCAL) == []


# Natural keys in the log


@pytest.mark.by_signals("keys that triggers write down are resolved when the log is sealed")
def test_a_deletion_carries_the_natural_key():
    Country.objects.create(code="PL", name="Polska").delete()
    assert json.loads(ChangeLog.objects.get(action=DELETION).key) == ["PL"]


@pytest.mark.by_signals("keys that triggers write down are resolved when the log is sealed")
def test_a_deletion_carries_a_natural_key_over_a_relation():
    country = Country.objects.create(code="PL", name="Polska")
    city = City.objects.create(name="Łódź", country=country)
    City.objects.get(pk=city.pk).delete()
    assert json.loads(ChangeLog.objects.get(action=DELETION).key) == ["Łódź", "Polska"]


@pytest.mark.by_signals("keys that triggers write down are resolved when the log is sealed")
def test_a_deletion_carries_a_natural_key_over_a_relation_that_is_deleted_too():
    country = Country.objects.create(code="PL", name="Polska")
    City.objects.create(name="Łódź", country=country)
    Country.objects.get(pk=country.pk).delete()
    log = ChangeLog.objects.get(label="testapp.city", action=DELETION)
    assert json.loads(log.key) == ["Łódź", "Polska"]


def test_a_deletion_of_a_row_without_a_natural_key_carries_none():
    Note.objects.create(name="a").delete()
    assert ChangeLog.objects.get(action=DELETION).key is None


@pytest.mark.by_signals("triggers keep natural keys of deletions only")
def test_a_save_carries_the_natural_key_where_it_costs_no_query():
    Country.objects.create(code="PL", name="Polska")
    assert json.loads(ChangeLog.objects.get().key) == ["PL"]


@pytest.mark.by_signals("triggers keep natural keys of deletions only")
def test_a_key_over_a_relation_that_is_not_loaded_is_not_queried_for_on_save(
    django_assert_num_queries,
):
    country = Country.objects.create(code="PL", name="Polska")
    city = City.objects.create(name="Łódź", country=country)
    city = City.objects.get(pk=city.pk)
    with django_assert_num_queries(2) as queries:
        city.save()
    assert not any("testapp_country" in query["sql"] for query in queries.captured_queries)


@pytest.mark.by_signals("keys that triggers write down are resolved when the log is sealed")
def test_a_natural_key_with_a_date_is_logged():
    Reading.objects.create(code="r", day="2012-01-02").delete()
    key = json.loads(ChangeLog.objects.get(action=DELETION).key)
    assert key[0] == "r"
    assert "2012-01-02" in json.dumps(key)


@pytest.mark.by_signals("keys that triggers write down are resolved when the log is sealed")
def test_a_deletion_of_a_row_that_was_loaded_in_part_carries_the_natural_key():
    country = Country.objects.create(code="PL", name="Polska")
    City.objects.create(name="Łódź", country=country)
    City.objects.only("pk").get().delete()
    assert json.loads(ChangeLog.objects.get(action=DELETION).key) == ["Łódź", "Polska"]


def test_a_log_row_outlives_its_content_type():
    note = Note.objects.create(name="a")
    with DisableSynchroLog():
        ContentType.objects.get_for_model(Note).delete()
    assert logged(Note) == [(pk(note), ADDITION)]


@pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
@pytest.mark.parametrize("change", ["create", "save", "delete", "link"])
def test_a_row_and_its_log_row_are_one_transaction(change):
    """Also where nobody opened one: what cannot be logged is not written."""

    def refuse(execute, sql, params, many, context):
        if ChangeLog._meta.db_table in sql and sql.startswith("INSERT"):
            raise ZeroDivisionError
        return execute(sql, params, many, context)

    note, paper = Note.objects.create(name="before"), Paper.objects.create(title="p")
    label = Label.objects.create(name="l")

    def write():
        if change == "create":
            Note.objects.create(name="after")
        elif change == "save":
            note.name = "after"
            note.save()
        elif change == "delete":
            Note.objects.get().delete()
        else:
            paper.labels.add(label)

    with connections[LOCAL].execute_wrapper(refuse), pytest.raises(ZeroDivisionError):
        write()
    assert [row.name for row in Note.objects.all()] == ["before"]
    assert not paper.labels.exists()


# What is not logged


def test_an_unwatched_model_is_not_logged():
    region = Region.objects.create(name="r")
    region.save()
    region.delete()
    assert not ChangeLog.objects.exists()


@pytest.mark.by_signals("update() writes silently")
def test_queryset_update_and_bulk_create_are_not_logged():
    Note.objects.bulk_create([Note(name="a"), Note(name="b")])
    Note.objects.update(number=2)
    assert not ChangeLog.objects.exists()


@pytest.mark.by_signals("update() writes silently")
def test_writes_of_migrations_through_historical_models_are_not_logged():
    historical = ProjectState.from_apps(apps).apps
    note = historical.get_model("testapp", "Note").objects.create(name="a")
    paper = historical.get_model("testapp", "Paper").objects.create(title="p")
    label = historical.get_model("testapp", "Label").objects.create(name="l")
    paper.labels.add(label)
    note.save()
    note.delete()
    assert not ChangeLog.objects.exists()


def test_a_rolled_back_transaction_leaves_nothing_in_the_log():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Note.objects.create(name="a")
        raise ZeroDivisionError
    assert not ChangeLog.objects.exists()


def test_a_rolled_back_savepoint_leaves_nothing_and_takes_nothing_else_along():
    with transaction.atomic():
        kept = Note.objects.create(name="kept")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Note.objects.create(name="lost")
            raise ZeroDivisionError
    assert logged(Note) == [(pk(kept), ADDITION)]


def test_a_rollback_on_remote_leaves_nothing_in_its_log():
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=REMOTE):
        Note.objects.using(REMOTE).create(name="a")
        raise ZeroDivisionError
    assert not ChangeLog.objects.using(REMOTE).exists()


def test_receivers_are_connected_to_watched_models_only():
    for model in (Region, Remark, ChangeLog):
        assert not post_save.has_listeners(model)
        assert not post_delete.has_listeners(model)
    assert post_save.has_listeners(Note)
    assert post_delete.has_listeners(NoteProxy)
    assert m2m_changed.has_listeners(Paper.labels.through)


# Suspending


def test_nothing_is_logged_inside_the_context_manager():
    with DisableSynchroLog():
        note = Note.objects.create(name="a")
        note.save()
        paper = Paper.objects.create(title="p")
        paper.labels.add(Label.objects.create(name="l"))
        note.delete()
    assert not ChangeLog.objects.exists()
    Note.objects.create(name="b")
    assert len(logged(Note)) == 1


def test_the_context_manager_nests():
    with DisableSynchroLog():
        with DisableSynchroLog():
            Note.objects.create(name="a")
        Note.objects.create(name="b")
    Note.objects.create(name="c")
    assert len(logged(Note)) == 1


def test_one_context_manager_may_be_entered_again():
    suspended = DisableSynchroLog()
    with suspended, suspended:
        Note.objects.create(name="a")
    Note.objects.create(name="b")
    with suspended:
        Note.objects.create(name="c")
    assert len(logged(Note)) == 1


def test_logging_goes_on_after_an_exception():
    with pytest.raises(ZeroDivisionError), DisableSynchroLog():
        raise ZeroDivisionError
    Note.objects.create(name="a")
    assert len(logged(Note)) == 1


def test_the_decorator_suspends_and_keeps_name_and_result():
    @disable_synchro_log
    def make(name: str) -> Note:
        """Make one."""
        return Note.objects.create(name=name)

    assert make("a").name == "a"
    assert (make.__name__, make.__doc__) == ("make", "Make one.")
    assert logged(Note) == []


@pytest.mark.parametrize("order", ["decorator first", "receiver first"])
def test_the_decorator_works_on_either_side_of_receiver(order):
    def also_save_a_label(sender, instance, **kwargs):
        Label.objects.create(name="made by the receiver")

    if order == "decorator first":
        function = receiver(post_save, sender=Note)(disable_synchro_log(also_save_a_label))
    else:
        function = disable_synchro_log(receiver(post_save, sender=Note)(also_save_a_label))
    try:
        Note.objects.create(name="a")
    finally:
        post_save.disconnect(function, sender=Note)
        post_save.disconnect(also_save_a_label, sender=Note)
    assert Label.objects.count() == 1
    assert len(logged(Note)) == 1
    assert logged(Label) == []


@pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
def test_other_threads_go_on_logging():
    def write() -> None:
        try:
            Note.objects.create(name="thread")
        finally:
            connections.close_all()

    with DisableSynchroLog():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        Note.objects.create(name="here")
    assert logged(Note) == [(pk(Note.objects.get(name="thread")), ADDITION)]


def test_one_context_manager_may_be_shared_by_threads():
    suspended = DisableSynchroLog()
    both_inside, one_left = threading.Barrier(2, timeout=10), threading.Event()
    errors: list[BaseException] = []

    def enter(first: bool) -> None:
        try:
            with suspended:
                both_inside.wait()
                if not first:
                    one_left.wait(10)
            one_left.set()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=enter, args=[first]) for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_other_tasks_go_on_logging():
    async def suspended(entered: asyncio.Event, done: asyncio.Event) -> None:
        with DisableSynchroLog():
            entered.set()
            await done.wait()
            await Note.objects.acreate(name="suspended")

    async def logging(entered: asyncio.Event, done: asyncio.Event) -> None:
        await entered.wait()
        await Note.objects.acreate(name="logged")
        done.set()

    async def main() -> None:
        entered, done = asyncio.Event(), asyncio.Event()
        await asyncio.gather(suspended(entered, done), logging(entered, done))

    async_to_sync(main)()
    assert logged(Note) == [(pk(Note.objects.get(name="logged")), ADDITION)]


def test_the_decorator_suspends_a_coroutine_function_while_it_runs():
    @disable_synchro_log
    async def make() -> None:
        await asyncio.sleep(0)
        await Note.objects.acreate(name="suspended")

    async_to_sync(make)()
    assert Note.objects.count() == 1
    assert logged(Note) == []
