"""What is done with many documents at once, and the list that one picks them from."""

from django.test import Client
from django.urls import reverse

from retrieval.models import Collection, Document, Revision
from tests.kbadmin.conftest import Add, twin_of

LIST = "admin:retrieval_document_changelist"


def act(page: Client, action: str, *documents: Document) -> None:
    keys = [document.pk for document in documents]
    page.post(reverse(LIST), {"action": action, "_selected_action": keys})


def test_many_are_cancelled_and_kept_at_once(page: Client, add: Add) -> None:
    done, working = add(), add("new.md", "embedding")
    copies = [twin_of(done, f"{n}.md") for n in range(2)]
    act(page, "cancel_unfinished", done, working)
    act(page, "keep_both", done, *copies)
    states = dict(Revision.objects.values_list("document__external_id", "state"))
    assert states == {
        "refunds.md": "indexed",
        "new.md": "cancelled",
        "0.md": "queued",
        "1.md": "queued",
    }


def test_every_failure_is_retried_within_the_filter(
    page: Client, add: Add, collection: Collection
) -> None:
    assert "retry-all" not in page.get(reverse(LIST)).content.decode()
    add("a.md", "failed", "No text.")
    other = Collection.objects.create(
        slug="other", title="Other", embedding_model=collection.embedding_model
    )
    b = add("b.md", "failed", "No text.")
    Document.objects.filter(pk=b.pk).update(collection=other)
    html = page.get(f"{reverse(LIST)}?collection={other.pk}").content.decode()
    assert "1 document could not be indexed." in html
    retry_all = reverse("admin:retrieval_document_retry_all")
    page.post(retry_all, {"collection": other.pk})
    states = dict(Revision.objects.values_list("document__external_id", "state"))
    assert states == {"a.md": "failed", "b.md": "queued"}
    page.post(retry_all, {"collection": ""})
    assert not Revision.objects.failed().exists()


def test_the_list_tells_duplicates_drafts_and_archives_apart(page: Client, add: Add) -> None:
    for code in ("duplicate", "draft", "unpacked"):
        add(f"{code}.md", "skipped").revisions.update(failure_code=code, failure_message="x")
    for code in ("duplicate", "draft", "unpacked"):
        response = page.get(f"{reverse(LIST)}?state={code}")
        assert [d.external_id for d in response.context["cl"].result_list] == [f"{code}.md"]
        assert f'<span class="kb-badge kb-is-skipped">{code}</span>' in response.content.decode()
