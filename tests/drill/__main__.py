"""python -m tests.drill [--short] [--notes N] [--kills N] [--database-url URL] [--keep]"""

import argparse
import os
import shutil
import subprocess
import sys

from benchmarks.system import MODEL_CACHE, ROOT

# First: it points every setting at a data folder and at ports of the drill's own.
from tests import isolation

#: One storm each, on the same system. Fixed, so that a failure can be repeated.
SEEDS = (11, 23, 47)
SHORT_SEEDS = (7,)
PASSWORD, KEY = "drill-password-4711", "drill-key-0123456789abcdef"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("--short", action="store_true", help="one storm of 60 notes and 6 kills")
    parser.add_argument("--notes", type=int, help="notes in all (600; --short: 60)")
    parser.add_argument("--kills", type=int, help="kills in all (36; --short: 6)")
    parser.add_argument("--seeds", type=int, nargs="+", help="a storm for each")
    parser.add_argument("--database-url", help="an empty PostgreSQL database instead of SQLite")
    parser.add_argument("--keep", action="store_true", help="keep the data folder and the logs")
    given = parser.parse_args()
    seeds = given.seeds or (SHORT_SEEDS if given.short else SEEDS)
    configure(given.database_url)
    import django

    django.setup()
    from tests.drill.run import Drill

    drill = Drill(
        folder=isolation.DATA_DIR,
        seeds=list(seeds),
        notes=given.notes or (60 if given.short else 600),
        kills=given.kills or (6 if given.short else 36),
        key=KEY,
    )
    passed = drill.run(
        lambda: subprocess.run(
            [sys.executable, "manage.py", "setup"],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    )
    if passed and not given.keep:
        shutil.rmtree(isolation.DATA_DIR, ignore_errors=True)
    else:
        sys.stdout.write(f"The data folder with the logs is kept: {isolation.DATA_DIR}\n")
    return 0 if passed else 1


def configure(database_url: str | None) -> None:
    os.environ |= {
        "PORT": str(isolation.free_port()),
        "WEB_CONCURRENCY": "1",
        "KBADMIN_LEASE_SECONDS": "5",
        "KBADMIN_ADMIN_PASSWORD": PASSWORD,
        "KBADMIN_API_KEY": KEY,
        "LOG_LEVEL": "INFO",
        # Never the one that the tests were told to use.
        "DATABASE_URL": database_url or f"sqlite:///{isolation.DATA_DIR / 'kbadmin.sqlite3'}",
    }
    from retrieval import embedding

    # Exporting takes a quarter of a minute: the tests keep what they made.
    made = embedding.prepare(
        "sentence-transformers/all-MiniLM-L6-v2", MODEL_CACHE, lambda line: None
    )
    shutil.copytree(made.folder, isolation.DATA_DIR / "models" / made.folder.name)


if __name__ == "__main__":
    sys.exit(main())
