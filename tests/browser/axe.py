"""What axe-core (https://github.com/dequelabs/axe-core) finds in a page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Page

SERIOUS: Final = ("serious", "critical")
DJANGO_OWN: Final = (
    # The box that filters the choices of filter_horizontal.
    ("aria-prohibited-attr", r"class=\"help-tooltip"),
    # Date and time of a DateTimeField, before Django 6.
    ("label", r"class=\"v(Date|Time)Field\""),
    # Home, where it is the only link of the breadcrumbs.
    ("link-in-text-block", r"^\.breadcrumbs > a"),
    # "13 total" (before Django 6) and "Show all" beside the search box.
    ("link-in-text-block", r"^(\.small > )?a\[href=\"\?\"\]"),
    # The search box of a list with search_help_text: that, not the label, is what axe sees.
    ("label-title-only", r"^#searchbar "),
)
"""Serious findings in Django's own pages: the rule, and what selector and element look like."""
# Not to load style sheets: axe would make inline ones of them, which the policy forbids.
_RUN: Final = "axe.run(document, {resultTypes: ['violations'], preload: false})"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule that one element breaks."""

    rule: str
    impact: str
    """``minor``, ``moderate``, ``serious`` or ``critical``."""
    help: str
    target: str
    """A CSS selector of the element."""
    html: str
    summary: str

    def is_djangos(self) -> bool:
        return any(
            rule == self.rule and re.search(pattern, f"{self.target} {self.html}")
            for rule, pattern in DJANGO_OWN
        )

    def __str__(self) -> str:
        summary = " ".join(self.summary.split())
        return f"{self.rule} ({self.impact}) {self.target}\n  {self.html}\n  {summary}"


class Axe:
    """Call it with a page; it returns the findings of all rules."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __call__(self, page: Page) -> list[Finding]:
        if page.evaluate("typeof axe") == "undefined":
            page.evaluate(self._source)
        result = page.evaluate(_RUN)
        return [
            Finding(
                rule=violation["id"],
                impact=violation["impact"] or "minor",
                help=violation["help"],
                target=" ".join(map(str, node["target"])),
                html=node["html"],
                summary=node["failureSummary"],
            )
            for violation in result["violations"]
            for node in violation["nodes"]
        ]


def assert_nothing_serious(findings: Iterable[Finding]) -> None:
    """Raise AssertionError with each finding that is serious or critical, but not Django's."""
    found = [each for each in findings if each.impact in SERIOUS and not each.is_djangos()]
    assert not found, f"axe-core has {len(found)} serious findings:\n" + "\n".join(map(str, found))
