"""System checks: whether what we tell chat programs about ourselves is right.

Only `manage.py check` and `setup` ask, for it takes about a second: most commands run the system
checks, and need not wait for the validator of OpenAPI documents each time.
"""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning
from django.db import DatabaseError


def check_own_manifest(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Errors of our own manifest and OpenAPI document; without them kbadmin still runs."""
    # Not at the top: this loads the views and the validator, which most commands never use.
    from plugin.doctor import Severity
    from plugin.doctor.own import to_mend
    from plugin.doctor.sources import check_own
    from plugin.identity import current, default

    try:
        identity = current()
    except DatabaseError:
        # Before the first migration, and while the database is away.
        identity = default()
    report = check_own(identity=identity)
    return [
        Warning(
            f"{found.rule} {found.name}: {report.message_of(found)}",
            hint=f"{found.fix} (For {', '.join(found.affected(Severity.ERROR))}.)",
            id=f"plugin.{found.rule}",
        )
        for found in to_mend(report)
        if found.severity is Severity.ERROR
    ]
