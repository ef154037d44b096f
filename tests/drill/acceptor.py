"""Hands documents over and keeps the journal. Run as a process that may be killed at any time.

An operation enters the journal only after it was accepted; one that was accepted right before
a kill is done again, which must change nothing.
"""

import os
import sys
import time
from pathlib import Path

import django
import httpx

PATIENCE = 120.0


class Web:
    """The upload page, as a browser uses it."""

    def __init__(self, address: str, password: str) -> None:
        self.address, self.password = address, password
        self.client: httpx.Client | None = None

    def upload(self, collection_id: int, external_id: str, data: bytes) -> None:
        """Returns once the page has answered with success; a web process that is away is
        asked again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                client = self._logged_in()
                answer = client.post(
                    "/admin/upload/",
                    data={"collection": str(collection_id), "paths": external_id},
                    files={"files": (external_id.rsplit("/", 1)[-1], data)},
                    headers={
                        "Accept": "application/json",
                        "X-CSRFToken": client.cookies["kbadmin_csrf"],
                    },
                )
                if answer.status_code == 200:
                    assert "batch" in answer.json(), answer.text
                    return
                assert answer.status_code < 500, answer.text[:500]
                self.client = None
            except httpx.TransportError:
                self.client = None
            assert time.monotonic() < deadline, "the upload page does not answer"
            time.sleep(0.2)

    def _logged_in(self) -> httpx.Client:
        if self.client is None:
            client = httpx.Client(base_url=self.address, timeout=30, trust_env=False)
            client.get("/admin/login/").raise_for_status()
            answer = client.post(
                "/admin/login/",
                data={
                    "username": "admin",
                    "password": self.password,
                    "csrfmiddlewaretoken": client.cookies["kbadmin_csrf"],
                },
            )
            assert answer.status_code == 302, f"login answered {answer.status_code}"
            self.client = client
        return self.client


def main() -> None:
    slug, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    django.setup()
    from django.conf import settings

    from retrieval.ingest import accept
    from retrieval.models import Collection, Document
    from tests.drill.notes import journalled, read_operations

    journal = folder / "journal"
    operations = read_operations(folder / "operations")
    done = set(journalled(journal))
    _drop_cut_line(journal)
    collection = Collection.objects.get(slug=slug)
    web = Web(settings.LOCAL_URL, settings.ADMIN_PASSWORD)
    with journal.open("a") as file:
        for operation in operations:
            if operation.number in done:
                continue
            if operation.kind == "delete":
                Document.objects.get(
                    collection=collection, external_id=operation.external_id
                ).tombstone()
            elif operation.through_web:
                web.upload(collection.pk, operation.external_id, operation.text.encode())
            else:
                accept(
                    collection,
                    external_id=operation.external_id,
                    filename=operation.external_id,
                    data=operation.text.encode(),
                    origin=Document.Origin.API,
                )
            file.write(f"{operation.number}\n")
            file.flush()
            os.fsync(file.fileno())
            time.sleep(seconds / len(operations))


def _drop_cut_line(journal: Path) -> None:
    if journal.exists():
        text = journal.read_text()
        journal.write_text(text[: text.rfind("\n") + 1])


if __name__ == "__main__":
    main()
