"""Values arrive exactly."""

from __future__ import annotations

import datetime
import math
import uuid
from decimal import Decimal

import pytest
from django.db import DatabaseError, connections, models, transaction
from django.db.models import Value
from django.test import override_settings
from django.utils import timezone

from synchro import synchronize
from synchro.exceptions import SynchroError
from tests.runs import LOCAL, REMOTE, on_remote, synchronize_back
from tests.testapp.models import Everything, Item

UTC = datetime.UTC

VALUES = [
    ("decimal", Decimal("0")),
    ("decimal", Decimal("-0.0000000001")),
    ("decimal", Decimal("12345.1234567891")),
    ("decimal", Decimal("-99999.9999999999")),
    ("price", Decimal("99999999.99")),
    ("price", Decimal("0.10")),
    ("real", 0.1),
    ("real", 1 / 3),
    ("real", -1.7e308),
    ("real", 5e-300),
    ("real", float(2**53 + 2)),
    ("big", 2**63 - 1),
    ("big", -(2**63)),
    ("small", -32768),
    ("positive", 2**63 - 1),
    ("flag", True),
    ("flag", False),
    ("moment", datetime.datetime(2012, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
    ("moment", datetime.datetime(1000, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    ("moment", datetime.datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)),
    # The hour that a zone with summer time has twice.
    ("moment", datetime.datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),
    ("moment", datetime.datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),
    ("day", datetime.date(1000, 1, 1)),
    ("day", datetime.date(2024, 2, 29)),
    ("clock", datetime.time(23, 59, 59, 999999)),
    ("clock", datetime.time(0)),
    ("span", datetime.timedelta(microseconds=1)),
    ("span", datetime.timedelta(days=-40000, microseconds=7)),
    ("span", datetime.timedelta(days=100000, hours=23, microseconds=999999)),
    ("data", b""),
    ("data", bytes(range(256))),
    ("data", b"\x00' OR '1'='1\\%s"),
    ("document", {}),
    ("document", []),
    ("document", ""),
    ("document", "null"),
    ("document", 0),
    ("document", False),
    ("document", 1.5),
    ("document", 2**53 + 1),
    ("document", {"ż": ["é", "\U0001f600", None, True, {"a": {"b": [1, 2.25]}}], "": " x "}),
    ("text", ""),
    ("text", " leading and trailing  "),
    ("text", "line\nline\r\nline\ttab"),
    ("text", "zażółć gęślą jaźń, Ελλάδα, 中文, עברית, \U0001f469\u200d\U0001f680"),
    ("text", "e\u0301 is not é, and İ is not i̇"),
    ("text", "'; DROP TABLE x; -- %s %(a)s {0} \\ \" `"),
    ("text", "x" * 100_000),
    ("word", ""),
    ("word", "trailing  "),
    ("word", "\U0001f600" * 200),
    ("word", "None"),
    ("file", "a/b/ć d.txt"),
    ("file", ""),
    ("uuid", uuid.UUID(int=0)),
    ("uuid", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    ("address", "10.0.0.1"),
    ("address", "2001:db8::1"),
    ("slug", "a-b_c"),
    ("slug", ""),
    ("email", "a+b@example.com"),
    ("url", "https://example.com/?a=%20b&c"),
]

modes = pytest.mark.parametrize("mode", ["save", "bulk"])


def held(alias, field):
    """The value as the database gives it, without what a field makes of it on access."""
    value = Everything.objects.using(alias).values_list(field, flat=True).get()
    if isinstance(value, memoryview):
        return bytes(value)
    return value.name if isinstance(value, models.fields.files.FieldFile) else value


@modes
@pytest.mark.parametrize(("field", "value"), VALUES, ids=lambda part: repr(part)[:40])
def test_a_value_arrives_exactly(field, value, mode):
    with override_settings(SYNCHRO_REPLAY=mode):
        row = Everything.objects.create(code="a", **{field: value})
        assert held(LOCAL, field) == value
        synchronize()
        assert held(REMOTE, field) == value
        assert type(held(REMOTE, field)) is type(value)
        # An update: another value on REMOTE is replaced by the same rules.
        Everything.objects.using(REMOTE).update(**{field: None})
        row.save()
        synchronize()
        assert held(REMOTE, field) == value


@modes
@pytest.mark.parametrize("field", [field.name for field in Everything._meta.fields if field.null])
def test_null_arrives_as_null(field, mode):
    with override_settings(SYNCHRO_REPLAY=mode):
        row = Everything.objects.create(code="a")
        Everything.objects.update(**{field: None})
        synchronize()
        assert Everything.objects.using(REMOTE).filter(**{f"{field}__isnull": True}).exists()
        full = {name: value for name, value in VALUES if name == field}
        Everything.objects.using(REMOTE).update(**full)
        row.save()
        Everything.objects.update(**{field: None})
        synchronize()
        assert Everything.objects.using(REMOTE).filter(**{f"{field}__isnull": True}).exists()


@modes
def test_json_null_is_not_sql_null(mode):
    with override_settings(SYNCHRO_REPLAY=mode):
        row = Everything.objects.create(code="json null")
        Everything.objects.update(document=Value(None, models.JSONField()))
        Everything.objects.create(code="sql null", document=None)

        def sql_nulls(alias):
            rows = Everything.objects.using(alias).filter(document__isnull=True)
            return list(rows.values_list("code", flat=True))

        assert sql_nulls(LOCAL) == ["sql null"]
        synchronize()
        assert sql_nulls(REMOTE) == ["sql null"]
        Everything.objects.using(REMOTE).update(document={"a": 1})
        row.save(update_fields=["text"])
        synchronize()
        assert sql_nulls(REMOTE) == []
        assert Everything.objects.using(REMOTE).get(code="json null").document is None


@modes
def test_all_values_of_one_row_arrive_together(mode):
    values = dict(VALUES)
    with override_settings(SYNCHRO_REPLAY=mode):
        Everything.objects.create(code="a", **values)
        synchronize()
    for field, value in values.items():
        assert held(REMOTE, field) == value, field


def test_rows_with_different_values_of_a_column_arrive_in_one_run():
    for number, (field, value) in enumerate(VALUES):
        Everything.objects.create(code=str(number), **{field: value})
    synchronize()
    for number, (field, value) in enumerate(VALUES):
        row = Everything.objects.using(REMOTE).filter(code=str(number)).values_list(field).get()
        got = bytes(row[0]) if isinstance(row[0], memoryview) else row[0]
        assert getattr(got, "name", got) == value, field


def test_a_value_comes_back_as_it_went():
    Everything.objects.create(code="a", **dict(VALUES))
    synchronize()
    on_remote(Everything).get().save()
    Everything.objects.all()._raw_delete(LOCAL)
    synchronize_back()
    for field, value in dict(VALUES).items():
        assert held(LOCAL, field) == value, field


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "UTC"])
def test_the_active_time_zone_does_not_matter(zone):
    moment = datetime.datetime(2024, 10, 27, 1, 30, 0, 5, tzinfo=UTC)
    with timezone.override(zone):
        Everything.objects.create(code="a", moment=moment)
        synchronize()
    assert on_remote(Everything).get().moment == moment


def test_two_time_zones_of_the_databases_do_not_matter():
    moment = datetime.datetime(2024, 10, 27, 0, 30, tzinfo=UTC)
    connection = connections[REMOTE]
    if connection.features.supports_timezones:
        pytest.skip("this database keeps time zones itself")
    Everything.objects.create(code="a", moment=moment)
    before = connection.settings_dict["TIME_ZONE"]
    connection.settings_dict["TIME_ZONE"] = "Asia/Tokyo"
    forget_zone(connection)
    try:
        synchronize()
        assert on_remote(Everything).get().moment == moment
    finally:
        connection.settings_dict["TIME_ZONE"] = before
        forget_zone(connection)


def forget_zone(connection):
    connection.__dict__.pop("timezone", None)
    connection.__dict__.pop("timezone_name", None)


@pytest.mark.parametrize(
    "code",
    ["", " ", "a b", "a/b?c#d", "ż", "\U0001f600", "'", '"', "\\", "%s", "[1]", "null", "1"],
)
def test_any_text_may_be_a_key(code):
    item = Item.objects.create(code=code, name="a")
    synchronize()
    assert on_remote(Item).get().code == code
    item.name = "b"
    item.save()
    synchronize()
    assert on_remote(Item).get().name == "b"
    item.delete()
    synchronize()
    assert not on_remote(Item).exists()


@modes
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan], ids=str)
def test_a_float_arrives_as_it_is_or_not_at_all(value, mode):
    """SQLite makes NULL of what is no number, MariaDB knows no infinite ones either."""
    if connections[LOCAL].vendor == "mysql":
        pytest.skip("LOCAL cannot hold it either")
    try:
        with transaction.atomic():
            Everything.objects.create(code="a", real=value)
    except DatabaseError:
        pytest.skip("LOCAL cannot hold it either")
    if held(LOCAL, "real") is None:
        pytest.skip("LOCAL cannot hold it either")
    with override_settings(SYNCHRO_REPLAY=mode):
        try:
            synchronize()
        except SynchroError as error:
            assert connections[REMOTE].vendor != "postgresql"
            assert "real" in str(error)
            assert not on_remote(Everything).exists()
        else:
            assert str(held(REMOTE, "real")) == str(value)


@modes
@pytest.mark.parametrize(
    "digits", ["12345678901234567890.1234567891", "0.1234567891", "1234567.1234567891"]
)
def test_a_decimal_arrives_exactly_or_not_at_all(digits, mode):
    """SQLite keeps 15 digits: more is an error, never rounded."""
    value = Decimal(digits)
    Everything.objects.create(code="a", decimal=value)
    if held(LOCAL, "decimal") != value:
        pytest.skip("LOCAL cannot hold it either")
    with override_settings(SYNCHRO_REPLAY=mode):
        try:
            synchronize()
        except SynchroError as error:
            assert connections[REMOTE].vendor == "sqlite"
            assert len(value.as_tuple().digits) > 15
            assert "decimal" in str(error)
            assert not on_remote(Everything).exists()
        else:
            assert held(REMOTE, "decimal") == value
