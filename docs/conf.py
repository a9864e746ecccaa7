"""Sphinx: `make docs` builds these pages into docs/_build/html."""

import re
from pathlib import Path

project = "django-synchro"
author = "The django-synchro authors"
project_copyright = "the django-synchro authors"
_source = Path(__file__).parent.parent / "synchro" / "__init__.py"
release = re.search(r'^__version__ = "(.+)"', _source.read_text(encoding="utf-8"), re.M)[1]
version = release

html_theme = "furo"
html_title = f"django-synchro {release}"
html_copy_source = False
html_show_sphinx = False
exclude_patterns = ["_build"]
highlight_language = "python"
nitpicky = True


def setup(app):
    app.add_object_type("setting", "setting", indextemplate="pair: %s; setting")
