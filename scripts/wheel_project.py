"""Turns a project fresh from `django-admin startproject shop` into one that uses synchro.

Run in the folder of its manage.py: `write` edits the project, `create` makes an object on LOCAL,
and `check` says whether it has arrived on REMOTE and whether the package holds all of its files.
"""

import importlib.resources
import os
import sys
from pathlib import Path

SETTINGS = """
INSTALLED_APPS += ["dbsettings", "synchro", "orders"]
DATABASES["remote"] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": BASE_DIR / "remote.sqlite3",
}
SYNCHRO_REMOTE = "remote"
SYNCHRO_MODELS = ("orders",)
"""

URLS = """
from django.urls import include

urlpatterns += [path("synchro/", include(("synchro.urls", "synchro"), namespace="synchro"))]
"""

MODELS = """
from django.db import models


class Order(models.Model):
    customer = models.CharField(max_length=50)
    total = models.DecimalField(max_digits=8, decimal_places=2)
"""

FILES = [
    "py.typed",
    "templates/synchro/overview.html",
    "static/synchro/synchro.css",
    "migrations/0001_initial.py",
]


def write() -> None:
    for name, text in (("settings", SETTINGS), ("urls", URLS)):
        with Path("shop", f"{name}.py").open("a", encoding="utf-8") as file:
            file.write(text)
    Path("orders").mkdir()
    Path("orders", "__init__.py").touch()
    Path("orders", "models.py").write_text(MODELS, encoding="utf-8")


def create() -> None:
    from orders.models import Order

    Order.objects.create(customer="Łucja", total="12.50")


def check() -> None:
    from django.test import Client
    from django.urls import reverse
    from orders.models import Order

    local, remote = (Order.objects.using(alias).values() for alias in ("default", "remote"))
    if len(remote) != 1 or list(local) != list(remote):
        sys.exit(f"The order has not arrived: LOCAL {list(local)}, REMOTE {list(remote)}")
    package = importlib.resources.files("synchro")
    absent = [name for name in FILES if not package.joinpath(name).is_file()]
    if absent:
        sys.exit(f"The wheel lacks {', '.join(absent)}")
    page = Client(SERVER_NAME="localhost").get(reverse("synchro:synchro"))
    if page.status_code != 302:
        sys.exit(f"The page should ask a stranger to log in, but answered {page.status_code}")
    print(f"The order has arrived in a project made against {package}")


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    if sys.argv[1:] == ["write"]:
        write()
    elif sys.argv[1:] in (["create"], ["check"]):
        os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
        import django

        django.setup()
        create() if sys.argv[1] == "create" else check()
    else:
        sys.exit(__doc__)
