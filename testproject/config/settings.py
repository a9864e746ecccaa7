"""A small project with two SQLite databases, kept in step by synchro."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
DATABASE_DIR = Path(os.environ.get("SYNCHRO_DEMO_DIRECTORY") or BASE_DIR)

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATABASE_DIR / "local.sqlite3",
    },
    "remote": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATABASE_DIR / "remote.sqlite3",
    },
}

# What synchro needs: where to, and what.
SYNCHRO_REMOTE = "remote"
SYNCHRO_MODELS = ("geo",)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "dbsettings",
    "synchro",
    "geo",
]

# A demonstration on this machine only: a real project keeps its key secret.
SECRET_KEY = "demonstration"
# Off, since Django keeps every query in memory otherwise.
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

ROOT_URLCONF = "config.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"

MIDDLEWARE = [
    # Not needed by synchro: it shows that its pages work under a strict Content-Security-Policy.
    "config.csp.StrictPolicy",
    "django.middleware.security.SecurityMiddleware",
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
