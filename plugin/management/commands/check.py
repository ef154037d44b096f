"""Django's `check`, and our own manifest and OpenAPI document with it."""

from typing import Any

from django.core.checks.registry import registry
from django.core.management.commands import check

from plugin.checks import check_own_manifest


class Command(check.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        registry.register(check_own_manifest, "plugin")
        try:
            super().handle(*args, **options)
        finally:
            registry.registered_checks.discard(check_own_manifest)
