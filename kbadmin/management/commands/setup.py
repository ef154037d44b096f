"""Everything between an empty data folder and a system that can start; nothing on a second run."""

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from kbadmin.bootstrap import bootstrap
from plugin.checks import check_own_manifest


class Command(BaseCommand):
    help = (
        "Migrate, prepare the models, make the first administrator, API key and "
        "collection. Safe to run again at any time."
    )
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            # Empty unless somebody runs collectstatic; WhiteNoise warns if it is missing.
            settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
            self.migrate()
            call_command("prepare_model", stdout=self.stdout, stderr=self.stderr)
            if settings.RERANKER:
                call_command("prepare_model", "--reranker", stdout=self.stdout, stderr=self.stderr)
            bootstrap(self.stdout)
            for problem in check_own_manifest():
                self.stderr.write(self.style.WARNING(str(problem)))
        except DatabaseError as error:
            raise CommandError(describe_database_error(error)) from error
        except OSError as error:
            raise CommandError(
                f"The data folder {settings.DATA_DIR} cannot be used: {error}"
            ) from error

    def migrate(self) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.stdout.write("Preparing the database …")
            call_command("migrate", interactive=False, verbosity=0, skip_checks=True)


def describe_database_error(error: Exception) -> str:
    """One sentence that names the database, never its password."""
    reason = " ".join(str(error).split()) or type(error).__name__
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return (
            f"The database file {database['NAME']} cannot be used: {reason}. Check that its "
            "folder exists, may be written to and has free space."
        )
    place = f"{database['HOST'] or 'localhost'}:{database['PORT'] or 5432}/{database['NAME']}"
    return (
        f"DATABASE_URL: the database {place} cannot be used: {reason}. Check that it runs, "
        "and its address, user and password."
    )
