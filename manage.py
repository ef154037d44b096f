#!/usr/bin/env python
"""Django's command line. Run `python manage.py help` for the list of commands."""

import os
import sys


def main() -> None:
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(130)


def run() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kbadmin.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A wrong setting is the operator's to mend: a sentence, not a stack trace.
        sys.stderr.write(f"kbadmin cannot start: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
