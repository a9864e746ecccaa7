"""Keeps the translations in synchro/locale up to date. Needs Django only, no GNU gettext.

    python scripts/messages.py

adds new strings of the code and the templates to every django.po (empty, to be translated),
takes out those that are gone, and compiles django.mo. ``tests/test_locale.py`` fails while a
string is not translated, or a django.mo is not that of its django.po.
"""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent.parent / "synchro"
LOCALE: Final = PACKAGE / "locale"

_FUNCTIONS: Final = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop"), ("singular",)),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), ("singular", "plural")),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ("context", "singular")),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), ("context", "singular", "plural")),
}
"""Function -> what its first arguments are."""
_CALL: Final = re.compile(r"\b(?:n?p?gettext|_)\(")
_PLACEHOLDER: Final = re.compile(r"%(?:\(\w+\))?[sdr]")
_WIDTH: Final = 79


@dataclass(kw_only=True)
class Message:
    """A string and its translations."""

    singular: str
    plural: str | None = None
    context: str | None = None
    """Tells it from the same word with another meaning, here or in the catalogs of Django."""
    where: list[str] = field(default_factory=list)
    """The files that it occurs in."""
    translations: list[str] = field(default_factory=list)
    """One, or one for each plural form."""
    fuzzy: bool = False

    @property
    def key(self) -> str:
        """What gettext looks it up by."""
        return self.singular if self.context is None else f"{self.context}\4{self.singular}"


Messages = dict[str, Message]
"""By their keys."""


@dataclass(kw_only=True)
class Catalog:
    """A django.po."""

    comments: list[str]
    """The lines at its top."""
    header: str
    messages: Messages

    @property
    def forms(self) -> int:
        """How many plural forms its language has, as the header says."""
        found = re.search(r"^Plural-Forms: nplurals=(\d+);", self.header, re.MULTILINE)
        if found is None:
            raise ValueError("The header has no Plural-Forms.")
        return int(found[1])

    def is_complete(self, message: Message) -> bool:
        """Whether a message has all the forms that the language needs."""
        forms = 1 if message.plural is None else self.forms
        return len(message.translations) == forms and all(message.translations)


def placeholders(text: str) -> list[str]:
    """What Python will fill in, in alphabetical order."""
    return sorted(_PLACEHOLDER.findall(text.replace("%%", "")))


# -- strings in the code


def strings() -> Messages:
    """Every string of the package that can be translated."""
    found: Messages = {}
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")]
    for file in sorted(files):
        name = file.relative_to(PACKAGE.parent).as_posix()
        source = file.read_text(encoding="utf-8")
        calls = _in_code(source) if file.suffix == ".py" else _in_template(source)
        for call in calls:
            message = found.setdefault(call.key, call)
            message.plural = message.plural or call.plural
            if name not in message.where:
                message.where.append(name)
    return found


def _in_code(source: str) -> Iterator[Message]:
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        names = _FUNCTIONS.get(node.func.id)
        if names is None:
            continue
        texts = [arg.value for arg in node.args[: len(names)] if isinstance(arg, ast.Constant)]
        if len(texts) == len(names) and all(isinstance(text, str) for text in texts):
            yield Message(**dict(zip(names, map(str, texts), strict=True)))


def _in_template(source: str) -> Iterator[Message]:
    from django.conf import settings
    from django.utils.translation.template import templatize

    if not settings.configured:
        settings.configure(USE_I18N=True)
    # Of the template this leaves calls of gettext(), between letters that stand for all the rest.
    text = templatize(source)
    for start in _CALL.finditer(text):
        rest = text[start.start() :]
        for end in re.finditer(r"\)", rest):
            try:
                yield from _in_code(rest[: end.end()])
            except SyntaxError:
                continue
            break


# -- django.po


def read(file: Path) -> Catalog:
    """Read a django.po. Raises ValueError for what this script does not write itself."""
    comments: list[str] = []
    header = ""
    messages: Messages = {}
    for block in file.read_text(encoding="utf-8").split("\n\n"):
        lines = block.strip().splitlines()
        parts, fuzzy, where = _block(lines, file)
        singular = parts.get("msgid")
        if singular is None:
            continue
        if singular == "":
            header = parts["msgstr"]
            comments = [line for line in lines if line.startswith("#")]
            continue
        forms = [value for name, value in parts.items() if name.startswith("msgstr")]
        message = Message(
            singular=singular,
            plural=parts.get("msgid_plural"),
            context=parts.get("msgctxt"),
            where=where,
            translations=forms,
            fuzzy=fuzzy,
        )
        messages[message.key] = message
    return Catalog(comments=comments, header=header, messages=messages)


def _block(lines: list[str], file: Path) -> tuple[dict[str, str], bool, list[str]]:
    parts: dict[str, str] = {}
    fuzzy, where, current = False, [], ""
    for line in lines:
        if line.startswith("#"):
            fuzzy |= line.startswith("#,") and "fuzzy" in line
            where += line[2:].split() if line.startswith("#:") else []
            continue
        found = re.fullmatch(r'(?:(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) )?(".*")', line)
        if found is None:
            raise ValueError(f"{file}: cannot read {line!r}")
        current = found[1] or current
        parts[current] = parts.get(current, "") + ast.literal_eval(found[2])
    return parts, fuzzy, where


def write(file: Path, catalog: Catalog) -> None:
    """Write a django.po."""
    blocks = [[*catalog.comments, 'msgid ""', *_quoted("msgstr", catalog.header)]]
    for message in sorted(catalog.messages.values(), key=lambda each: (each.where, each.key)):
        lines = [f"#: {' '.join(message.where)}"]
        flags = ["fuzzy"] * message.fuzzy
        flags += ["python-format"] * bool(placeholders(message.singular))
        lines += [f"#, {', '.join(flags)}"] if flags else []
        if message.context is not None:
            lines += _quoted("msgctxt", message.context)
        lines += _quoted("msgid", message.singular)
        if message.plural is None:
            lines += _quoted("msgstr", *message.translations or [""])
        else:
            lines += _quoted("msgid_plural", message.plural)
            for number, text in enumerate(message.translations or [""] * catalog.forms):
                lines += _quoted(f"msgstr[{number}]", text)
        blocks.append(lines)
    file.write_text("\n\n".join("\n".join(lines) for lines in blocks) + "\n", encoding="utf-8")


def _quoted(keyword: str, text: str) -> list[str]:
    def quote(part: str) -> str:
        return '"' + part.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    if "\n" not in text and len(keyword) + len(text) + 3 <= _WIDTH:
        return [f"{keyword} {quote(text)}"]
    lines = [""]
    for word in re.findall(r"[^ \n]*(?:\n| +|$)", text):
        if lines[-1].endswith("\n") or len(lines[-1]) + len(word) > _WIDTH - 2:
            lines.append("")
        lines[-1] += word
    return [f'{keyword} ""', *(quote(line) for line in lines if line)]


# -- django.mo


def compiled(catalog: Catalog) -> bytes:
    """The catalog in the format of GNU gettext's .mo files (its manual: The Format of GNU MO
    Files), without strings that lack a translation, or a form of it, or are fuzzy."""
    pairs = {b"": catalog.header.encode()}
    for message in catalog.messages.values():
        if message.fuzzy or not catalog.is_complete(message):
            continue
        name = message.key + ("" if message.plural is None else f"\0{message.plural}")
        pairs[name.encode()] = "\0".join(message.translations).encode()
    names = sorted(pairs)
    texts = [pairs[name] for name in names]
    size = 28 + 16 * len(names)
    tables, data = b"", b""
    for strings_ in (names, texts):
        for text in strings_:
            tables += struct.pack("<II", len(text), size + len(data))
            data += text + b"\0"
    start = struct.pack("<7I", 0x950412DE, 0, len(names), 28, 28 + 8 * len(names), 0, size)
    return start + tables + data


def update() -> None:
    """Bring every catalog up to date with the code, and compile it."""
    for file in sorted(LOCALE.glob("*/LC_MESSAGES/django.po")):
        catalog = read(file)
        current = strings()
        for key, message in current.items():
            if key in catalog.messages:
                message.translations = catalog.messages[key].translations
                message.fuzzy = catalog.messages[key].fuzzy
        catalog.messages = current
        write(file, catalog)
        file.with_suffix(".mo").write_bytes(compiled(catalog))
        missing = sum(not catalog.is_complete(message) for message in current.values())
        language = file.parent.parent.name
        print(f"{language}: {len(current)} strings, {missing} to be translated")


if __name__ == "__main__":
    update()
