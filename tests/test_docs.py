"""The documentation names everything, and what it shows is what happens."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core import management

from synchro.models import CHANGE, M2M_CHANGE, ChangeLog
from tests.compare import assert_same
from tests.runs import synchronize
from tests.testapp.models import Label, Paper

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").rglob("*.rst"))]
TUTORIAL = ROOT / "docs" / "tutorial" / "quickstart.rst"

# A comment before a block says what to do with it:
#   .. environment                 leave it out here: it makes the virtual environment
#   .. run                         run it in a shell, in the project's folder
#   .. output                      what the blocks run before it must have printed at the end
#   .. write FILE, .. append FILE  what a file of the project holds (at its end)
#   .. run python NAME             a function of that name, which a test below uses
BLOCK = re.compile(
    r"^(?:\.\. (?P<what>environment|run python|run|output|write|append)(?: (?P<name>\S+))?\n\n)?"
    r"(?P<indent> *)\.\. code-block:: (?P<language>\w+)\n\n"
    r"(?P<body>(?:(?P=indent) +.*\n|\n)+)",
    re.M,
)


@dataclass(kw_only=True)
class Block:
    page: Path
    line: int
    what: str
    name: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, text: str | None = None) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8") if text is None else text
    for found in BLOCK.finditer(text):
        yield Block(
            page=page,
            line=text.count("\n", 0, found.start("body")) + 1,
            what=found["what"] or "",
            name=found["name"] or "",
            language=found["language"],
            text=textwrap.dedent(found["body"]).rstrip() + "\n",
        )


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]


def words(*folders: str) -> str:
    found = [path.read_text("utf-8") for one in folders for path in (ROOT / one).rglob("*.rst")]
    return "\n".join(found)


def names_in_source(pattern: str) -> list[str]:
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "synchro").rglob("*.py"))
    return sorted(set(re.findall(pattern, source)))


def commands() -> list[str]:
    return sorted(name for name, app in management.get_commands().items() if app == "synchro")


# -- everything is named


def test_names_are_found_at_all():
    assert "SYNCHRO_REMOTE" in names_in_source(r"\bSYNCHRO_[A-Z_]+\b")
    assert "synchro.E001" in names_in_source(r"\bsynchro\.[EW]\d{3}\b")
    assert "synchronize" in commands()


@pytest.mark.parametrize("name", names_in_source(r'"(SYNCHRO_[A-Z_]*[A-Z])"'))
def test_every_setting_is_documented(name):
    page = "settings" if name != "SYNCHRO_SKIP" else "model-attributes"
    text = (ROOT / "docs" / "reference" / f"{page}.rst").read_text("utf-8")
    assert f".. setting:: {name}\n" in text or f"``{name}``" in text


@pytest.mark.parametrize("name", names_in_source(r"\bsynchro\.[EW]\d{3}\b"))
def test_every_check_is_documented(name):
    assert f".. _{name}:\n" in (ROOT / "docs" / "reference" / "checks.rst").read_text("utf-8")


@pytest.mark.parametrize("name", commands())
def test_every_command_is_documented_with_its_options(name):
    text = (ROOT / "docs" / "reference" / "commands.rst").read_text("utf-8")
    assert f"\n{name}\n{'=' * len(name)}\n" in text
    section = text.split(f"\n{name}\n{'=' * len(name)}\n")[1]
    section = re.split(r"\n\n[^\n]+\n=+\n", section)[0]
    command = management.load_command_class("synchro", name)
    parser = command.create_parser("manage.py", name)
    inherited = management.base.BaseCommand().create_parser("manage.py", name)
    known = {option for action in inherited._actions for option in action.option_strings}
    for action in parser._actions:
        own = [option for option in action.option_strings if option not in known]
        assert not own or any(f"``{option}" in section for option in own), own


@pytest.mark.parametrize("module", ["synchro", "synchro.exceptions", "synchro.core"])
def test_every_public_name_is_documented(module):
    imported = sys.modules[module]
    names = getattr(imported, "__all__", None) or [
        name for name, value in vars(imported).items() if isinstance(value, type)
    ]
    text = (ROOT / "docs" / "reference" / "python.rst").read_text("utf-8")
    absent = [
        name for name in names if not re.search(rf"^\.\. py:\w+:: \S*\b{name}\b", text, re.M)
    ]
    assert not absent


def test_every_field_of_the_log_is_documented():
    text = (ROOT / "docs" / "reference" / "models.rst").read_text("utf-8")
    absent = [
        field.name
        for field in ChangeLog._meta.get_fields()
        if field.name != "id" and f"``{field.name}``" not in text
    ]
    assert not absent


def test_no_setting_is_documented_that_does_not_exist():
    # The page on faults names variables of the tests, too.
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    variables = set(re.findall(r"environ\.get\(\s*\"(SYNCHRO_\w+)", tests))
    known = set(names_in_source(r"\bSYNCHRO_[A-Z_]*[A-Z]\b")) | variables
    assert not set(re.findall(r"\bSYNCHRO_[A-Z_]*[A-Z]\b", words("docs"))) - known


# -- what it shows


@pytest.mark.parametrize(
    "block", [block for block in ALL_BLOCKS if block.language == "python"], ids=str
)
def test_python_blocks_compile(block):
    ast.parse(block.text, filename=str(block))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_understood(page):
    """None is missed by a slip in its indentation or in the comment before it."""
    text = page.read_text("utf-8")
    assert len(list(blocks(page))) == text.count(".. code-block:: ")
    marks = re.findall(r"^\.\. (?:environment|run|output|write|append)\b(?!.*::)", text, re.M)
    assert len([block for block in blocks(page) if block.what]) == len(marks)


def test_the_readme_and_the_tutorial_can_be_followed_in_an_empty_folder(tmp_path):
    """With this interpreter and this package in place of a new virtual environment."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, arguments in (("python", ""), ("django-admin", " -m django")):
        script = bin_ / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{arguments} "$@"\n')
        script.chmod(0o755)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "SYNCHRO_"))
    }
    environment["PATH"] = f"{bin_}{os.pathsep}{environment['PATH']}"
    environment["PYTHONPATH"] = str(ROOT)
    environment["PYTHONWARNINGS"] = "error::RuntimeWarning"
    project = tmp_path / "project"
    project.mkdir()
    printed = ""
    compared = 0
    for block in _story():
        if block.what == "run":
            printed = _shell(block, project, environment)
        elif block.what == "output":
            assert _matches(block.text, printed), f"{block}: {printed}"
            compared += 1
        elif block.what in ("write", "append"):
            file = project / block.name
            before = file.read_text("utf-8") if block.what == "append" else ""
            assert file.parent.is_dir(), block
            file.write_text(before + block.text, encoding="utf-8")
        else:
            assert block.what == "environment", f"{block} is not marked"
    assert compared == 5
    assert "ok" in _shell_text("python manage.py check && echo ok", project, environment)


def _story() -> list[Block]:
    """The blocks of the tutorial, with those of the README in their place."""
    readme = (ROOT / "README.rst").read_text("utf-8")
    start, end = ".. quickstart begins", ".. quickstart ends"
    included = list(blocks(ROOT / "README.rst", readme.split(start)[1].split(end)[0]))
    before, after = re.split(r"\.\. include::.*\n(?: +:.*\n)+", TUTORIAL.read_text("utf-8"))
    assert not list(blocks(TUTORIAL, before))
    return [*included, *blocks(TUTORIAL, after)]


def _shell(block: Block, folder: Path, environment: dict[str, str]) -> str:
    return _shell_text(block.text, folder, environment, str(block))


def _shell_text(text: str, folder: Path, environment: dict[str, str], name: str = "") -> str:
    shell = shutil.which("bash") or "sh"
    result = subprocess.run(
        [shell, "-e", "-c", text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert result.returncode == 0, f"{name}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stderr, result.stderr
    return result.stdout


def _matches(shown: str, printed: str) -> bool:
    """Whether the output ends with what the page shows; three dots stand for anything."""
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("..."))
    return re.search(rf"(?:\A|\n){pattern}\s*\Z", printed) is not None


@pytest.mark.by_signals("update() writes silently")
def test_the_function_that_logs_rows_works():
    (block,) = [block for block in ALL_BLOCKS if block.what == "run python"]
    assert block.name == "log_rows"
    names: dict[str, object] = {}
    exec(compile(block.text, str(block), "exec"), names)
    label, other = Label.objects.create(name="a"), Label.objects.create(name="b")
    paper = Paper.objects.create(title="first")
    synchronize()
    Label.objects.filter(pk=label.pk).update(name="c")
    paper.labels.through.objects.create(paper=paper, label=label)
    paper.labels.through.objects.create(paper=paper, label=other)
    (made,) = Paper.objects.bulk_create([Paper(title="second")])
    assert not synchronize().changed
    for model in (Label, Paper):
        names["log_rows"](model.objects.filter(pk__in=[label.pk, paper.pk, made.pk]))
    assert set(ChangeLog.objects.filter(batch=None).values_list("action", flat=True)) == {
        CHANGE,
        M2M_CHANGE,
    }
    synchronize()
    assert_same(Label, Paper)
    assert ChangeLog.objects.first().content_type == ContentType.objects.get_for_model(Label)


# -- bad input

BAD_INPUT = ROOT / "docs" / "howto" / "bad-input.rst"


def cells() -> list[list[str]]:
    """The rows of the page's tables, without their heads."""
    rows = re.findall(r"^   \* - (.*)\n((?:     - .*\n)+)", BAD_INPUT.read_text("utf-8"), re.M)
    return [
        [first, *re.findall(r"^     - (.*)$", rest, re.M)]
        for first, rest in rows
        if first != "What is wrong"
    ]


def texts_of_the_code() -> list[str]:
    """Every text in the source, with three dots for the values in it."""
    found = []
    for path in (ROOT / "synchro").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", None) for part in node.values)
                found.append("".join(part if isinstance(part, str) else "…" for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_the_tables_of_bad_input_are_read():
    assert len(cells()) == BAD_INPUT.read_text("utf-8").count("\n   * - ") - 6
    assert {len(row) for row in cells()} == {4}


@pytest.mark.parametrize("row", cells(), ids=lambda row: row[3].strip("`").split("`")[0])
def test_bad_input_is_answered_as_the_page_says(row):
    _, message, _, named = row
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    names = re.findall(r"``(test_\w+)``", named)
    assert names
    for name in names:
        assert f"\ndef {name}(" in tests, name
    assert message.startswith(("``", "nothing", "the same")), message
    for text in re.findall(r"``(.+?)``", message):
        fixed = [part.strip() for part in text.split("…") if part.strip(" .,:")]
        pattern = ".*".join(map(re.escape, fixed))
        assert any(re.search(pattern, code, re.S) for code in texts_of_the_code()), text
