"""Whatever statements are executed on LOCAL: after a run both databases are equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from synchro import DisableSynchroLog, synchronize
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE
from tests.testapp.models import City, Country, Item, Label, Note, Paper, Plant
from tests.triggered import execute, quoted, triggers, vendor

Statement = Callable[[int, int], None]
LINKS = Paper.labels.through
PLAYED = [City, Country, Item, Label, Note, Paper, Plant, LINKS]
small = st.integers(0, 4)


@pytest.fixture(scope="module", autouse=True)
def installed(django_db_setup: None, django_db_blocker: object) -> Iterator[None]:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        context = triggers()
        context.__enter__()
    yield
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        context.__exit__(None, None, None)


def table(model: type) -> str:
    return quoted(model._meta.db_table)


def insert_items(a: int, b: int) -> None:
    execute(
        f"INSERT INTO {table(Item)} (code, name) VALUES (%s, 'x'), (%s, 'y')", [f"i{a}", f"j{b}"]
    )


def upsert_item(a: int, b: int) -> None:
    end = (
        "ON DUPLICATE KEY UPDATE name = VALUES(name)"
        if vendor() == "mysql"
        else "ON CONFLICT (code) DO UPDATE SET name = excluded.name"
    )
    sql = f"INSERT INTO {table(Item)} (code, name) VALUES (%s, %s) {end}"
    execute(sql, [f"i{a}", str(b)])


def rename_item(a: int, b: int) -> None:
    execute(f"UPDATE {table(Item)} SET code = %s WHERE code = %s", [f"i{b}", f"i{a}"])


def delete_items(a: int, b: int) -> None:
    execute(f"DELETE FROM {table(Item)} WHERE code >= %s", [f"i{a}"])


def replace_plant(a: int, b: int) -> None:
    if vendor() == "postgresql":
        Plant.objects.filter(name=str(a)).delete()
        Plant.objects.filter(serial=b).delete()
        execute(f"INSERT INTO {table(Plant)} (name, serial) VALUES (%s, %s)", [str(a), b])
    else:
        execute(f"REPLACE INTO {table(Plant)} (name, serial) VALUES (%s, %s)", [str(a), b])


def update_plants(a: int, b: int) -> None:
    Plant.objects.filter(name=str(a)).update(serial=b + 10)


def bulk_notes(a: int, b: int) -> None:
    Note.objects.bulk_create(Note(name=f"n{a}", number=number) for number in range(b))


def update_notes(a: int, b: int) -> None:
    Note.objects.filter(number__lte=a).update(number=F("number") + b)


def delete_notes(a: int, b: int) -> None:
    Note.objects.filter(name=f"n{a}", number__gte=b)._raw_delete(LOCAL)


def put_country(a: int, b: int) -> None:
    fields = {} if vendor() == "mysql" else {"unique_fields": ["code"]}
    Country.objects.bulk_create(
        [Country(code=f"c{a}", name=f"Land {a}", population=b)],
        update_conflicts=True,
        update_fields=["population"],
        **fields,
    )


def bulk_cities(a: int, b: int) -> None:
    country = Country.objects.filter(code=f"c{a}").first()
    if country and not City.objects.filter(country=country, name=f"t{b}").exists():
        City.objects.bulk_create([City(name=f"t{b}", country=country)])


def delete_country(a: int, b: int) -> None:
    City.objects.filter(country__code=f"c{a}").delete()
    Country.objects.filter(code=f"c{a}")._raw_delete(LOCAL)


def bulk_papers(a: int, b: int) -> None:
    Paper.objects.bulk_create([Paper(title=f"p{a}")])
    Label.objects.bulk_create([Label(name=f"l{b}")])


def link(a: int, b: int) -> None:
    papers, labels = Paper.objects.order_by("pk"), Label.objects.order_by("pk")
    if papers and labels:
        paper, label = papers[a % len(papers)], labels[b % len(labels)]
        LINKS.objects.bulk_create([LINKS(paper=paper, label=label)], ignore_conflicts=True)


def unlink(a: int, b: int) -> None:
    labels = list(Label.objects.order_by("pk"))
    if labels:
        execute(f"DELETE FROM {table(LINKS)} WHERE label_id = %s", [labels[b % len(labels)].pk])


def save_and_delete(a: int, b: int) -> None:
    Note.objects.create(name=f"s{a}")
    for note in Note.objects.filter(name=f"s{b}"):
        note.delete()


def rolled_back(a: int, b: int) -> None:
    try:
        with transaction.atomic():
            Note.objects.update(name="gone")
            Item.objects.all().delete()
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


STATEMENTS: list[Statement] = [
    insert_items,
    upsert_item,
    rename_item,
    delete_items,
    replace_plant,
    update_plants,
    bulk_notes,
    update_notes,
    delete_notes,
    put_country,
    bulk_cities,
    delete_country,
    bulk_papers,
    link,
    unlink,
    save_and_delete,
    rolled_back,
]


class AnyStatements(TestCase):
    databases = {LOCAL, REMOTE}

    @given(
        st.lists(
            st.tuples(st.sampled_from([*STATEMENTS, None, None]), small, small),
            max_size=40,
        ),
        st.booleans(),
    )
    def test_any_statements_arrive(self, story, shifted):
        if shifted:
            with DisableSynchroLog():
                for model in (Note, Country, City, Label, Paper, Plant):
                    values = {"country_id": 1} if model is City else {}
                    if model is Plant:
                        values = {"serial": 0}
                    if model is not City:
                        model._base_manager.using(REMOTE).create(**values).delete()
        for statement, a, b in story:
            if statement is None:
                synchronize()
                continue
            try:
                with transaction.atomic():
                    statement(a, b)
            except IntegrityError:
                continue
        synchronize()
        assert_same(*PLAYED)
        assert synchronize().counts == {}
