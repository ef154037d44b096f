"""System checks: whether what we tell chat programs about ourselves is right."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning, register


@register()
def check_own_manifest(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Errors of our own manifest and OpenAPI document; without them kbadmin still runs."""
    # Not at the top: it loads the views and the validator, which most commands never use.
    from plugin.doctor import Severity
    from plugin.doctor.sources import check_own

    report = check_own()
    return [
        Warning(
            f"{found.rule} {found.name}: {report.message_of(found)}",
            hint=f"{found.fix} (For {', '.join(found.affected(Severity.ERROR))}.)",
            id=f"plugin.{found.rule}",
        )
        for found in report.of(Severity.ERROR)
    ]
