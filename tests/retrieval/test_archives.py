import io
import zipfile

import pytest

from retrieval.models import Document, Revision
from retrieval.search import search
from retrieval.types import SearchRequest

pytestmark = pytest.mark.django_db


def packed(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".md", text)
    return buffer.getvalue()


def names() -> set[str]:
    return set(Document.objects.alive().values_list("external_id", flat=True))


def test_every_file_of_an_archive_becomes_a_document(add):
    archive = add("pack.zip", packed(a="# A\n\nThe walrus.", sub__b="# B\n\nThe pelican."))
    assert archive.latest_revision.state == Revision.State.SKIPPED
    assert archive.latest_revision.failure_code == "unpacked"
    assert names() == {"pack.zip", "pack.zip/a.md", "pack.zip/sub/b.md"}
    hits = search(SearchRequest("pelican", "docs")).hits
    assert hits[0].external_id == "pack.zip/sub/b.md"


def test_a_newer_archive_updates_adds_and_removes(add):
    add("pack.zip", packed(a="# A\n\nThe walrus.", b="# B\n\nThe pelican."))
    add("pack.zip", packed(a="# A\n\nThe walrus sleeps.", c="# C\n\nThe heron."))
    assert names() == {"pack.zip", "pack.zip/a.md", "pack.zip/c.md"}
    assert "sleeps" in search(SearchRequest("walrus", "docs")).hits[0].text


def test_deleting_an_archive_deletes_what_came_out_of_it(add):
    archive = add("pack.zip", packed(a="# A\n\nThe walrus."))
    archive.tombstone()
    assert names() == set()
    assert search(SearchRequest("walrus", "docs")).hits == ()


@pytest.mark.parametrize("newer", [b"PK no archive any more", packed(b="# B\n\nThe pelican.")])
@pytest.mark.parametrize("several", [True, False])
def test_also_while_a_newer_archive_waits_or_has_failed(add, newer, several):
    add("pack.zip", packed(a="# A\n\nThe walrus."))
    archive = add("pack.zip", newer, index=newer.endswith(b"more"))
    if several:
        Document.objects.filter(pk=archive.pk).tombstone()
    else:
        archive.tombstone()
    assert names() == set()


def test_one_bad_file_in_an_archive_fails_alone(add):
    add("pack.zip", packed(good="# Good\n\nThe walrus.", bad="---\na: [\n---\n# Bad"))
    states = dict(Document.objects.values_list("external_id", "latest_revision__failure_code"))
    assert states["pack.zip/good.md"] == ""
    assert states["pack.zip/bad.md"] == "invalid_front_matter"


def test_an_unsafe_archive_fails_as_a_whole(add):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("fine.md", "# Fine")
        archive.writestr("../outside.md", "# Outside")
    document = add("evil.zip", buffer.getvalue())
    assert document.latest_revision.failure_code == "zip_unsafe_path"
    assert names() == {"evil.zip"}
