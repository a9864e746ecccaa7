"""The kinds of columns that synchro's own tables have, and Django lacks."""

from __future__ import annotations

from typing import Any, Final

from django.db import models
from django.db.models.lookups import IsNull


class KeyField(models.CharField):
    """Text that every database compares character by character.

    MariaDB and MySQL take ``Zurich`` and ``Zürich`` (and trailing spaces) for equal in their
    usual collations; keys are compared exactly.
    """

    def db_parameters(self, connection: Any) -> dict[str, Any]:
        parameters: dict[str, Any] = {**super().db_parameters(connection)}
        if connection.vendor == "mysql":
            parameters["collation"] = (
                "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
            )
        return parameters


UNSEALED: Final = 2**63 - 1
"""What the table has where no run has seen a row: above the number of any batch."""


class BatchField(models.BigIntegerField):
    """The number of a batch; None until a run has seen the row.

    The table has a number in either case, and what no run has seen the greatest one: it comes
    after all batches, and is above (``__gt``) each of them. A row of InnoDB that grows has to
    move, with all that is behind it in its page: giving it a number where it had none takes three
    to four times as long as giving it another one.
    """

    def get_prep_value(self, value: Any) -> Any:
        return UNSEALED if value is None else super().get_prep_value(value)

    def from_db_value(self, value: int | None, expression: Any, connection: Any) -> int | None:
        return None if value == UNSEALED else value


@BatchField.register_lookup
class IsUnsealed(IsNull):
    """``batch=None``, ``batch__isnull``: whether no run has seen the row."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        sql, parameters = self.process_lhs(compiler, connection)
        return f"{sql} {'=' if self.rhs else '<'} %s", (*parameters, UNSEALED)
