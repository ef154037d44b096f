"""Addresses are rows as soon as they are accepted; the worker brings their pages."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from retrieval import addresses, indexing
from retrieval.exceptions import InvalidAddress
from retrieval.ingest import Outcome, accept
from retrieval.models import Collection, Document, Revision
from retrieval.worker import WorkerProcess
from tests.web_server import Site, serve

State = Revision.State
committed = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(settings: Any) -> Iterator[Site]:
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]
    with serve() as site:
        yield site


def work() -> None:
    with WorkerProcess() as process:
        process.drain()


def fetch_all() -> None:
    """What the worker does with addresses, in the transaction of the test."""
    Revision.objects.update(not_before=None)
    for revision in addresses.claim("test", 10):
        addresses.fetch("test", revision)


def latest(address: str) -> Revision:
    revision = Document.objects.get(external_id=address).latest_revision
    assert revision is not None
    return revision


@committed
def test_a_page_is_fetched_and_searched(site: Site, collection: Collection) -> None:
    address = site.page("/tar", "<title>Tar</title><h1>Tar</h1><p>Tar packs many files into one.")
    accepted = addresses.accept_address(collection, address)
    assert accepted.outcome is Outcome.ADDED
    assert site.asked == []
    work()
    document = Document.objects.get()
    assert (document.external_id, document.url, document.origin) == (address, address, "web")
    assert document.title == "Tar"
    assert document.live_revision is not None
    assert "packs many files" in document.live_revision.text
    assert (document.live_revision.filename, document.live_revision.size) == ("tar.html", 63)


@committed
def test_the_bad_ones_harm_no_other(site: Site, collection: Collection) -> None:
    good = [site.page(f"/{n}.md", f"# Page {n}\n\nText {n}.", "text/markdown") for n in range(6)]
    bad = [f"{site.url}/missing", site.page("/a.png", b"\x89PNG", "image/png")]
    for address in [*good, *bad]:
        addresses.accept_address(collection, address)
    work()
    assert {latest(address).state for address in good} == {State.INDEXED}
    missing, picture = map(latest, bad)
    assert (missing.state, missing.failure_code) == (State.FAILED, "fetch_failed")
    assert "no page at this address" in missing.failure_message
    assert (picture.state, picture.failure_code) == (State.FAILED, "unsupported_format")


def test_addresses_inside_are_refused(collection: Collection, settings: Any) -> None:
    for address in ("http://169.254.169.254/latest/meta-data/", "http://2130706433/"):
        addresses.accept_address(collection, address)
        fetch_all()
        assert latest(address).failure_code == "address_forbidden"


def test_what_is_no_address_leaves_no_row(collection: Collection) -> None:
    with pytest.raises(InvalidAddress):
        addresses.accept_address(collection, "file:///etc/passwd")
    assert not Document.objects.exists()


def test_an_address_that_waits_is_taken_once(collection: Collection) -> None:
    first = addresses.accept_address(collection, "https://example.com")
    again = addresses.accept_address(collection, "HTTPS://EXAMPLE.com:443/#top")
    assert (again.revision, again.outcome) == (first.revision, Outcome.ADDED)
    assert Revision.objects.count() == 1


def test_a_page_that_has_not_changed_leaves_no_trace(site: Site, collection: Collection) -> None:
    address = site.page("/a.md", "# A", "text/markdown")
    first = addresses.accept_address(collection, address).revision
    fetch_all()
    Revision.objects.update(state=State.INDEXED)
    Document.objects.update(live_revision=first)
    again = addresses.accept_address(collection, address)
    assert (again.outcome, again.revision.number) == (Outcome.UPDATED, 2)
    fetch_all()
    assert list(Revision.objects.all()) == [first]
    assert latest(address) == first


def test_a_page_that_has_changed_is_a_new_version(site: Site, collection: Collection) -> None:
    address = site.page("/a.md", "# A", "text/markdown")
    first = addresses.accept_address(collection, address).revision
    fetch_all()
    Revision.objects.update(state=State.INDEXED)
    Document.objects.update(live_revision=first)
    site.page("/a.md", "# B", "text/markdown")
    addresses.accept_address(collection, address)
    fetch_all()
    assert (latest(address).number, latest(address).state) == (2, State.QUEUED)
    assert Document.objects.get().live_revision == first


def test_a_page_like_another_document_is_a_duplicate(site: Site, collection: Collection) -> None:
    accept(
        collection,
        external_id="a.md",
        filename="a.md",
        data=b"# A",
        origin=Document.Origin.UPLOAD,
    )
    address = site.page("/b.md", "# A", "text/markdown")
    addresses.accept_address(collection, address)
    fetch_all()
    assert latest(address).is_duplicate


def test_a_site_that_is_away_is_asked_again_and_then_given_up(
    site: Site, collection: Collection
) -> None:
    address = site.page("/a", "", status=503)
    addresses.accept_address(collection, address)
    for attempt in range(3):
        revision = latest(address)
        assert (revision.state, revision.attempts) == (State.QUEUED, attempt)
        fetch_all()
    revision = latest(address)
    assert (revision.state, revision.failure_code) == (State.FAILED, "fetch_unreachable")
    assert revision.retryable
    site.page("/a", "<p>back")
    assert addresses.accept_address(collection, address).outcome is Outcome.RETRIED
    fetch_all()
    assert latest(address).content_hash


def test_a_full_disk_is_told(
    site: Site, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(addresses, "store_original", full)
    address = site.page("/a", "<p>hello")
    addresses.accept_address(collection, address)
    fetch_all()
    assert latest(address).state == State.QUEUED
    assert "No space left on device" in latest(address).failure_message


def test_a_retry_fetches_again(site: Site, collection: Collection) -> None:
    address = f"{site.url}/late.md"
    addresses.accept_address(collection, address)
    fetch_all()
    assert latest(address).state == State.FAILED
    site.page("/late.md", "# Here", "text/markdown")
    Revision.objects.all().retry()
    fetch_all()
    assert (latest(address).state, latest(address).size) == (State.QUEUED, 6)


def test_a_worker_that_died_is_replaced(site: Site, collection: Collection) -> None:
    address = site.page("/a", "<p>hello")
    addresses.accept_address(collection, address)
    [held] = addresses.claim("dead", 10)
    assert addresses.claim("other", 10) == []
    Revision.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert indexing.claim("other") == []  # it has no bytes yet
    [again] = addresses.claim("other", 10)
    assert (again.pk, again.crashes) == (held.pk, 1)
    addresses.fetch("dead", held)  # it was only slow: too late
    assert latest(address).state == State.FETCHING
    addresses.fetch("other", again)
    assert latest(address).state == State.QUEUED


def test_a_page_over_which_workers_die_is_given_up(site: Site, collection: Collection) -> None:
    address = site.page("/a", "<p>hello")
    addresses.accept_address(collection, address)
    Revision.objects.update(crashes=addresses.MAX_CRASHES)
    fetch_all()
    assert latest(address).failure_code == "internal_error"
    assert site.asked == []


def test_what_was_deleted_comes_back_with_its_address(site: Site, collection: Collection) -> None:
    address = site.page("/a", "<p>hello")
    first = addresses.accept_address(collection, address).revision
    fetch_all()
    Revision.objects.update(state=State.INDEXED)
    document = Document.objects.get()
    document.live_revision = first
    document.save()
    document.tombstone()
    assert addresses.accept_address(collection, address).outcome is Outcome.ADDED
    fetch_all()
    document.refresh_from_db()
    assert document.deleted_at is None
    assert latest(address).state == State.QUEUED
    assert latest(address) != first
