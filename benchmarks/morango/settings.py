"""One node of Morango: a database in a file, ``MORANGO_DATABASE``."""

from __future__ import annotations

import os

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["MORANGO_DATABASE"],
        "OPTIONS": {"timeout": 60},
    }
}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "morango",
    "rest_framework",
    "shop",
]
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["127.0.0.1"]
SECRET_KEY = "only for benchmarks"
USE_TZ = True
DEBUG = False
LOGGING_CONFIG = None
