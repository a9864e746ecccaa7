"""Errors that pass are told from those that stay, by what the drivers really raise."""

from __future__ import annotations

import sqlite3

import psycopg
import pymysql
import pytest
from django.db import IntegrityError, OperationalError

from synchro.exceptions import ReplayError
from synchro.transient import is_lost, is_transient

pytestmark = pytest.mark.once

UNDONE = [
    psycopg.errors.DeadlockDetected(),
    psycopg.errors.SerializationFailure(),
    psycopg.errors.LockNotAvailable(),
    psycopg.errors.CannotConnectNow(),
    pymysql.err.OperationalError(1213, "Deadlock found"),
    pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"),
    pymysql.err.OperationalError(1020, "Record has changed since last read"),
]
LOST = [
    psycopg.errors.AdminShutdown(),
    psycopg.errors.CrashShutdown(),
    psycopg.errors.ConnectionFailure(),
    psycopg.errors.IdleInTransactionSessionTimeout(),
    psycopg.OperationalError("the connection is closed"),
    psycopg.OperationalError("server closed the connection unexpectedly"),
    psycopg.OperationalError("connection failed: FATAL:  the database system is starting up"),
    pymysql.err.OperationalError(2006, "Server has gone away"),
    pymysql.err.OperationalError(2013, "Lost connection"),
    pymysql.err.OperationalError(2003, "Can't connect"),
    pymysql.err.OperationalError(1927, "Connection was killed"),
    pymysql.err.OperationalError(1053, "Server shutdown in progress"),
    pymysql.err.OperationalError(4031, "The client was disconnected"),
    pymysql.err.InterfaceError(0, ""),
]
LASTING = [
    psycopg.errors.UniqueViolation(),
    psycopg.errors.UndefinedTable(),
    psycopg.errors.DiskFull(),
    psycopg.errors.QueryCanceled(),
    psycopg.errors.ReadOnlySqlTransaction(),
    psycopg.OperationalError('connection failed: FATAL:  password authentication failed for "a"'),
    psycopg.OperationalError('connection failed: FATAL:  database "a" does not exist'),
    psycopg.ProgrammingError("the query has 0 placeholders but 1 parameters were passed"),
    pymysql.err.IntegrityError(1062, "Duplicate entry"),
    pymysql.err.OperationalError(1045, "Access denied"),
    pymysql.err.OperationalError(1114, "The table is full"),
    pymysql.err.OperationalError(1317, "Query execution was interrupted"),
    sqlite3.OperationalError("no such table: a"),
    IntegrityError("of Django, without a driver's error"),
    ValueError(1213),
    KeyboardInterrupt(),
]


def name(error: BaseException) -> str:
    return f"{type(error).__name__}-{error}"[:50]


@pytest.mark.parametrize("error", [*UNDONE, *LOST], ids=name)
def test_an_error_that_passes(error):
    assert is_transient(error)


@pytest.mark.parametrize("error", LASTING, ids=name)
def test_an_error_that_stays(error):
    assert not is_transient(error)
    assert not is_lost(error)


@pytest.mark.parametrize("error", LOST, ids=name)
def test_a_lost_connection(error):
    assert is_lost(error)


@pytest.mark.parametrize("error", UNDONE, ids=name)
def test_a_database_that_answered_is_not_lost(error):
    assert not is_lost(error)


def test_a_cause_is_found_below_the_errors_made_of_it():
    with pytest.raises(ReplayError) as caught:
        try:
            try:
                raise UNDONE[0]
            except psycopg.Error as error:
                raise OperationalError("of Django") from error
        except OperationalError as error:
            raise ReplayError("of synchro") from error
    assert is_transient(caught.value)


def test_an_error_while_a_lost_connection_is_put_away_is_the_loss_itself():
    with pytest.raises(KeyError) as caught:
        try:
            raise LOST[0]
        except psycopg.Error:
            {}["nothing"]
    assert is_transient(caught.value)


def test_an_error_that_was_dealt_with_is_no_cause():
    with pytest.raises(KeyError) as caught:
        try:
            raise LOST[0]
        except psycopg.Error:
            raise KeyError("a") from None
    assert not is_transient(caught.value)


def test_causes_in_a_circle_come_to_an_end():
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert not is_transient(one)


def test_a_locked_sqlite_file_is_busy_and_a_full_one_is_not(tmp_path):
    path = tmp_path / "a.sqlite3"
    one = sqlite3.connect(path, timeout=0, isolation_level=None)
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    one.execute("CREATE TABLE a (b)")
    one.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as busy:
        other.execute("INSERT INTO a VALUES (1)")
    one.execute("ROLLBACK")
    one.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as full:
        one.execute("INSERT INTO a VALUES (zeroblob(100000))")
    one.close()
    other.close()
    assert is_transient(busy.value)
    assert not is_transient(full.value)
