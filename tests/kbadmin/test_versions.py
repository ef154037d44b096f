"""The versions of a document: seen, compared and restored; retried, cancelled and kept."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from retrieval.admin.comparison import bounded_diff
from retrieval.admin.versions import timeline
from retrieval.ingest import accept, keep_duplicates
from retrieval.models import Document, Revision
from tests.kbadmin.conftest import Add, twin_of


def url(name: str, document: Document, *more: object) -> str:
    return reverse(f"admin:retrieval_document_{name}", args=[document.pk, *more])


def new_version(document: Document, text: str, state: str = "indexed", **fields: Any) -> Revision:
    accepted = accept(
        document.collection,
        external_id=document.external_id,
        filename="refunds.md",
        data=text.encode(),
        origin=Document.Origin.UPLOAD,
    )
    Revision.objects.filter(pk=accepted.revision.pk).update(text=text, state=state, **fields)
    if state == "indexed":
        Document.objects.filter(pk=document.pk).update(live_revision=accepted.revision)
    return accepted.revision


@pytest.fixture
def document(add: Add) -> Document:
    """Two versions of which one word differs."""
    document = add()
    Revision.objects.filter(document=document).update(text="# Refunds\n\nPaid in 14 days.\n\nEnd")
    new_version(document, "# Refunds\n\nPaid in 30 days.\n\nEnd", metadata={"owner": "Ada"})
    document.refresh_from_db()
    return document


def cells(html: str, kind: str) -> list[tuple[str, ...]]:
    rows = re.findall(rf'<tr class="kb-diff-{kind}">(.*?)</tr>', html, re.S)
    return [tuple(re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)) for row in rows]


def test_a_comparison_marks_lines_by_sign_and_number(page: Client, document: Document) -> None:
    html = page.get(url("compare", document) + "?old=1&new=2").content.decode()
    assert ("3", "", "−", "Paid in 14 days.") in cells(html, "removed")
    assert ("", "3", "+", "Paid in 30 days.") in cells(html, "added")
    assert ("5", "5", "", "End") in cells(html, "same")


def test_a_comparison_shows_changed_front_matter(page: Client, document: Document) -> None:
    html = page.get(url("compare", document)).content.decode()
    assert ("owner: &quot;Ada&quot;") in [row[3] for row in cells(html, "added")]


def test_by_default_what_is_searched_is_compared_with_the_latest(
    page: Client, document: Document
) -> None:
    response = page.get(url("compare", document))
    assert (response.context["old"].number, response.context["new"].number) == (1, 2)
    new_version(document, "third", "failed")
    new_version(document, "fourth", "queued")
    response = page.get(url("compare", document))
    assert (response.context["old"].number, response.context["new"].number) == (2, 4)


def test_a_comparison_with_nothing_to_compare_says_so(page: Client, document: Document) -> None:
    html = page.get(url("compare", document) + "?old=2&new=2").content.decode()
    assert "There is no difference." in html
    new_version(document, "", "failed")
    html = page.get(url("compare", document) + "?old=2&new=3").content.decode()
    assert "No text was read from version 3 (failed)." in html
    assert page.get(url("compare", document) + "?old=1&new=99").status_code == 404


def test_text_is_compared_as_text(page: Client, document: Document) -> None:
    new_version(document, "<script>alert(1)</script>")
    html = page.get(url("compare", document) + "?old=2&new=3").content.decode()
    assert "<script>alert(1)" not in html


def test_a_small_change_in_a_long_text_is_found_at_once_and_at_its_line() -> None:
    lines = [f"line {n}" for n in range(20_000)]
    changed = [*lines[:15_000], "new", *lines[15_000:]]
    found, is_cut = bounded_diff("\n".join(lines), "\n".join(changed))
    added = [line for line in found if line.change == "added"]
    assert [(line.new_number, line.text) for line in added] == [(15_001, "new")]
    assert found[0].change == "gap"
    assert not is_cut


def test_more_changes_than_can_be_compared_are_cut(page: Client) -> None:
    old, new = "\n".join(f"a{n}" for n in range(1500)), "\n".join(f"b{n}" for n in range(1500))
    assert bounded_diff(old, new)[1]


def test_an_earlier_version_is_restored_by_name(
    page: Client, boss: User, document: Document
) -> None:
    response = page.post(url("restore", document, 1), follow=True)
    html = response.content.decode()
    assert "Version 1 is restored as version 3; it is indexed now." in html
    document.refresh_from_db()
    assert document.latest_revision is not None
    assert (document.latest_revision.number, document.latest_revision.state) == (3, "queued")
    assert "the same file as #1" in html
    shown = {v.row.number: v.author for v in response.context["versions"]}
    assert shown == {3: "boss", 2: "", 1: ""}


def test_what_cannot_be_restored_is_said(page: Client, document: Document) -> None:
    html = page.post(url("restore", document, 2), follow=True).content.decode()
    assert "Version 2 is the newest one already." in html
    html = page.post(url("restore", document, 9), follow=True).content.decode()
    assert "no version 9" in html
    assert document.revisions.count() == 2


@pytest.mark.parametrize("name", ["retry", "cancel", "keep"])
def test_what_changes_something_is_a_post_and_needs_permission(
    client: Client, document: Document, name: str
) -> None:
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_document"))
    client.force_login(clerk)
    assert client.get(url(name, document)).status_code == 405
    assert client.post(url(name, document)).status_code == 403
    assert client.post(url("restore", document, 1)).status_code == 403
    assert client.get(url("compare", document)).status_code == 200
    html = client.get(url("change", document)).content.decode()
    assert "/restore/" not in html


def test_unfinished_work_is_cancelled_and_begun_again(page: Client, document: Document) -> None:
    revision = new_version(document, "new", "embedding")
    html = page.get(url("change", document)).content.decode()
    assert url("cancel", document) in html
    html = page.post(url("cancel", document), follow=True).content.decode()
    revision.refresh_from_db()
    assert revision.state == Revision.State.CANCELLED
    assert url("retry", document) in html
    page.post(url("retry", document))
    revision.refresh_from_db()
    assert (revision.state, revision.retired_at) == ("queued", None)


def test_a_duplicate_leads_to_what_it_repeats_and_can_be_kept(page: Client, add: Add) -> None:
    first = add()
    copy = twin_of(first)
    html = page.get(url("change", copy)).content.decode()
    assert "This document is not searched." in html
    assert url("change", first) in html
    page.post(url("keep", copy))
    revision = copy.revisions.get()
    assert (revision.state, revision.duplicate_of) == ("queued", None)
    assert revision.options == {"keep_duplicate": True}
    assert not keep_duplicates(Document.objects.filter(pk=copy.pk))


def test_keeping_what_is_no_duplicate_changes_nothing(page: Client, document: Document) -> None:
    html = page.post(url("keep", document), follow=True).content.decode()
    assert "It is no duplicate any more." in html
    assert set(document.revisions.values_list("state", flat=True)) == {"indexed"}


def test_an_archive_leads_to_its_documents(page: Client, add: Add) -> None:
    archive = add("docs.zip", "skipped")
    archive.revisions.update(failure_code="unpacked", failure_message="2 documents")
    for name in ("docs.zip/a.md", "docs.zip/b.md"):
        document = add(name)
        Document.objects.filter(pk=document.pk).update(source=archive.member_source)
    add("other.md")
    response = page.get(url("change", archive))
    assert response.context["members"]["count"] == 2
    listed = page.get(response.context["members"]["url"]).context["cl"].result_list
    assert {d.external_id for d in listed} == {"docs.zip/a.md", "docs.zip/b.md"}


def test_the_stages_of_the_last_attempt_have_durations(document: Document) -> None:
    start = timezone.now() - timedelta(minutes=5)
    seconds = {"created": 0, "parsing": 1, "chunking": 3, "embedding": 3.5, "syncing": 63.5}
    revision = Revision(state="indexed", finished_at=start + timedelta(seconds=64))
    for name, offset in seconds.items():
        setattr(revision, f"{name}_at", start + timedelta(seconds=offset))
    assert [stage.duration for stage in timeline(revision)] == [
        "1.0 s",
        "2.0 s",
        "0.5 s",
        "0:01:00",
        "0.5 s",
    ]
    # A second attempt that has only come to parsing.
    revision.state, revision.finished_at = "parsing", None
    revision.parsing_at = timezone.now() - timedelta(seconds=2)
    stages = timeline(revision)
    assert [stage.name for stage in stages] == ["waiting", "parsing"]
    assert stages[-1].running


def test_the_page_costs_the_same_with_many_versions(page: Client, document: Document) -> None:
    counts = []
    for extra in (0, 0, 12):
        for number in range(extra):
            new_version(document, f"text {number}")
        with CaptureQueriesContext(connection) as queries:
            page.get(url("change", document))
        counts.append(len(queries))
    assert counts[1] == counts[2]
