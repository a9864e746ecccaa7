"""Models of every kind that synchro promises to replay."""

from tests.testapp.models.cascades import *  # noqa: F403
from tests.testapp.models.inheritance import *  # noqa: F403
from tests.testapp.models.links import *  # noqa: F403
from tests.testapp.models.natural import *  # noqa: F403
from tests.testapp.models.odd import *  # noqa: F403
from tests.testapp.models.plain import *  # noqa: F403
from tests.testapp.models.relations import *  # noqa: F403
from tests.testapp.models.signals import *  # noqa: F403
from tests.testapp.models.values import *  # noqa: F403
