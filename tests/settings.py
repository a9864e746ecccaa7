"""A project with two databases, chosen by SYNCHRO_TEST_LOCAL and SYNCHRO_TEST_REMOTE.

Test databases carry the number of the process that made them, so that several runs can use one
server. Processes started by a test inherit SYNCHRO_TEST_RUN and so know the same names; with
SYNCHRO_TEST_ATTACH set they connect to the test databases themselves.
"""

from __future__ import annotations

import os

from tests import servers

LOCAL_VENDOR = os.environ.get("SYNCHRO_TEST_LOCAL") or "sqlite"
REMOTE_VENDOR = os.environ.get("SYNCHRO_TEST_REMOTE") or "sqlite"

_RUN = os.environ.setdefault("SYNCHRO_TEST_RUN", str(os.getpid()))
RUN_DIRECTORY = servers.DIRECTORY / _RUN


def _database(vendor: str, alias: str) -> dict[str, object]:
    name = f"test_{LOCAL_VENDOR}_{REMOTE_VENDOR}_{_RUN}_{alias}"
    entry = servers.database(vendor, name, RUN_DIRECTORY)
    if os.environ.get("SYNCHRO_TEST_ATTACH"):
        entry["NAME"] = entry["TEST"]["NAME"]
    return entry


DATABASES = {
    "default": _database(LOCAL_VENDOR, "default"),
    "remote": _database(REMOTE_VENDOR, "remote"),
}
# Between two databases of PostgreSQL, and two of SQLite, few rows take the plain way, as they do
# outside tests; else they take that of many: by threads (``synchro.ahead``, ``sealing``), packed
# (``synchro.keytimes``).
FEW_ARE_MANY = (LOCAL_VENDOR, REMOTE_VENDOR) not in {
    ("postgresql", "postgresql"),
    ("sqlite", "sqlite"),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
    # The live server of the browser tests sends the admin's style sheets.
    "django.contrib.staticfiles",
    "dbsettings",
    # Before synchro on purpose: a project's models.py may import from it in any order.
    "tests.testapp",
    "tests.otherapp",
    "synchro",
]

# Some models of the tests use what not every database can do: the tests know which.
SILENCED_SYSTEM_CHECKS = [
    "models.W036",  # unique constraints with conditions
    "models.W038",  # deferrable unique constraints
    "models.W044",  # unique constraints over expressions
    "mysql.W003",  # unique text of more than 255 characters
]

SYNCHRO_REMOTE = "remote"
SYNCHRO_MODELS = ("testapp", "auth")
# "triggers": the whole suite with the log written by the databases themselves.
SYNCHRO_CAPTURE = os.environ.get("SYNCHRO_TEST_CAPTURE") or "signals"

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
MEDIA_ROOT = RUN_DIRECTORY / "media"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

LANGUAGE_CODE = "en"
USE_TZ = True
# Not UTC, so that a time which loses its zone on the way is seen.
TIME_ZONE = "Europe/Warsaw"

MIDDLEWARE = [
    # A strict Content-Security-Policy: the pages have to do with it.
    "testproject.config.csp.StrictPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
