"""manage.py validate_manifest: exit 0 without errors, 1 with, 2 if it could not be checked."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from plugin.doctor import Consumer, Report
from plugin.doctor.formats import as_json, as_sarif, as_text, rules_as_markdown
from plugin.doctor.probes import Prober
from plugin.doctor.sources import Unavailable, check, expand, fetch_document, is_address

ERRORS, NOT_CHECKED = 1, 2


class Command(BaseCommand):
    help = (
        "Check a plugin manifest and its OpenAPI document. "
        "Exit code 0: no error, 1: errors were found, 2: it could not be checked."
    )
    #: What is wrong with our own manifest is what this command tells, at length.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "sources",
            nargs="*",
            metavar="SOURCE",
            help="a file, a folder of them, an address, - for standard input, or own",
        )
        parser.add_argument(
            "--consumer",
            action="append",
            choices=[str(consumer) for consumer in Consumer],
            help="judge for this program only; may be repeated",
        )
        parser.add_argument("--format", choices=["text", "json", "sarif"], default="text")
        parser.add_argument("--offline", action="store_true", help="fetch nothing")
        parser.add_argument(
            "--token",
            default="",
            help="the key with which the search of a plugin at an address is called",
        )
        parser.add_argument(
            "--mend",
            action="store_true",
            help="print the document with every change that is safe to make, not the report",
        )
        parser.add_argument("--rules", action="store_true", help="print all rules and stop")
        parser.add_argument(
            "--openapi", type=Path, metavar="FILE", help="the OpenAPI document of the manifest"
        )

    def handle(self, *args: Any, sources: list[str], **options: Any) -> None:
        if options["rules"]:
            self.stdout.write(rules_as_markdown(), ending="")
            return
        chosen = [Consumer(name) for name in options["consumer"] or Consumer]
        reports: list[Report] = []
        failures: list[str] = []
        for source in expand(sources):
            # What is served is asked for as clients ask; a file may not be served yet.
            prober = Prober(options["token"]) if is_address(source) else None
            try:
                report = check(
                    source,
                    offline=options["offline"],
                    openapi=options["openapi"],
                    consumers=chosen,
                    fetch=prober.fetch if prober else fetch_document,
                    probe=prober.look if prober else None,
                )
                reports.append(prober.done(report).report if prober else report)
            except Unavailable as error:
                failures.append(str(error))
        failures += [report.unavailable for report in reports if report.unavailable]
        if options["mend"]:
            for report in reports:
                self.stdout.write(report.mended.get(report.main, report.text), ending="")
        elif options["format"] == "json" and reports:
            self.stdout.write(as_json(reports), ending="")
        elif options["format"] == "sarif" and reports:
            self.stdout.write(as_sarif(reports), ending="")
        else:
            self.stdout.write("\n".join(map(as_text, reports)), ending="")
        for failure in failures:
            self.stderr.write(failure)
        if any(report.has_errors for report in reports):
            raise SystemExit(ERRORS)
        if failures:
            raise SystemExit(NOT_CHECKED)
        if not reports:
            raise CommandError("There is nothing to check.", returncode=NOT_CHECKED)
