from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as BASE_APPS

INSTALLED_APPS = [app for app in BASE_APPS if app not in ("tests.testapp", "tests.otherapp")]
INSTALLED_APPS.insert(0, "tests.swapped")
AUTH_USER_MODEL = "swapped.Member"
SYNCHRO_MODELS = ("swapped", "auth")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{alias}.sqlite3"}
    for alias in ("default", "remote")
}
