"""/f/TOKEN and /source/TOKEN: the links that an answer carries."""

import re
import time
import uuid
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from plugin.links import source_link, source_token, vote_link, vote_token
from retrieval.hidden import switch_chunks
from retrieval.models import Chunk, Document, Feedback, Search
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.plugin.conftest import error_of

pytestmark = pytest.mark.django_db

QUESTION = "list all <b>running</b> containers"
LONG = "# Handbook\n\n" + "\n\n".join(
    f"## Part {n}\n\n" + f"Rule {n} of the handbook says {n} things. " * 60 for n in range(6)
)


@pytest.fixture
def client():
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def answer(pages):
    return search(SearchRequest(query=QUESTION, collection="docs"))


@pytest.fixture
def up(answer):
    return path_of(vote_link(answer.query_id, "up"))


def path_of(link):
    parts = urlsplit(link)
    assert parts.query == ""
    return parts.path


def vote(client, path, **fields):
    page = client.get(path)
    token = page.context["csrf_token"]
    return client.post(path, {"csrfmiddlewaretoken": token, **fields})


@pytest.fixture
def weeks_pass(monkeypatch):
    now = time.time()

    def move(days):
        monkeypatch.setattr("django.core.signing.time.time", lambda: now + days * 86400)

    return move


# --- Voting ------------------------------------------------------------------------------------


def test_links_are_absolute_and_safe_in_markdown(answer, settings):
    settings.PUBLIC_URL = "https://kb.example.org"
    links = [vote_link(answer.query_id, "up"), source_link(answer.hits[0])]
    assert links[0].startswith("https://kb.example.org/f/")
    assert links[1].startswith("https://kb.example.org/source/")
    assert all(re.fullmatch(r"https://[\w./-]+\w(#quoted)?", link) for link in links)
    assert max(map(len, links)) < 120


def test_opening_a_link_records_nothing(client, up):
    for _ in range(3):
        assert client.get(up).status_code == 200
        assert client.head(up).status_code == 200
    assert Feedback.objects.count() == 0


def test_the_form_records_a_vote_with_what_would_be_right(client, up, answer):
    response = vote(client, up, rating="down", correction="Use `podman ps`.", comment="old <i>")
    assert response.status_code == 200
    row = Feedback.objects.get()
    assert str(row.search_id) == answer.query_id
    assert (row.rating, row.correction, row.comment) == (-1, "Use `podman ps`.", "old <i>")
    assert (row.channel, row.question) == ("link", QUESTION)


def test_both_links_of_an_answer_are_one_vote_that_can_be_changed(client, up, answer):
    down = path_of(vote_link(answer.query_id, "down"))
    for _ in range(20):
        assert vote(client, up, rating="up").status_code == 200
    assert vote(client, down, rating="down").status_code == 200
    assert Feedback.objects.get().rating == -1


@pytest.mark.parametrize(("rating", "value"), [("up", "up"), ("down", "down")])
def test_the_vote_of_the_link_is_chosen_already(client, answer, rating, value):
    page = client.get(path_of(vote_link(answer.query_id, rating))).content.decode()
    checked = re.findall(r'value="(\w+)" required checked', page)
    assert checked == [value]


def test_the_page_shows_the_question_as_text_and_nothing_of_the_answer(client, up, answer):
    page = client.get(up).content.decode()
    assert "list all &lt;b&gt;running&lt;/b&gt; containers" in page
    assert answer.hits[0].text not in page
    assert answer.hits[0].title not in page


def test_a_vote_without_the_forms_token_is_refused(client, up):
    assert client.post(up, {"rating": "up"}).status_code == 403
    assert Feedback.objects.count() == 0


@pytest.mark.parametrize(
    "fields", [{}, {"rating": "best"}, {"rating": "up", "comment": "x" * 4001}]
)
def test_a_wrong_vote_is_shown_again_and_not_recorded(client, up, fields):
    response = vote(client, up, **fields)
    assert response.status_code == 400
    assert b'role="alert"' in response.content
    assert Feedback.objects.count() == 0


def forged(token):
    query_id = str(uuid.uuid4())
    other = vote_token(query_id, "up")
    return [
        token[:-1], token + "x", token.replace("u.", "d.", 1), token[:21] + other[21:],
        "x", "a.b.c", token.split(".")[0], "🙂", "." * 50, token.upper(),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(10))
def test_a_forged_or_damaged_link_says_so(client, up, number):
    response = client.get("/f/" + forged(up.removeprefix("/f/"))[number])
    assert response.status_code == 404
    assert "This link does not work" in response.content.decode()
    assert QUESTION not in response.content.decode()


def test_a_link_for_reading_does_not_vote_and_the_other_way_round(client, up, answer):
    assert client.get(f"/f/{source_token(answer.hits[0])}").status_code == 404
    assert client.get(f"/source/{up.removeprefix('/f/')}").status_code == 404


def test_links_expire(client, up, answer, settings, weeks_pass):
    source = path_of(source_link(answer.hits[0]))
    weeks_pass(settings.LINK_DAYS - 1)
    assert client.get(up).status_code == 200
    weeks_pass(settings.LINK_DAYS + 1)
    for path in (up, source):
        response = client.get(path)
        assert response.status_code == 410
        assert "expired" in response.content.decode()
    assert (
        client.post("/f", {"token": up[3:], "rating": "up"}, "application/json").status_code == 410
    )


def test_a_vote_on_a_search_that_was_deleted_says_so(client, up):
    Search.objects.all().delete()
    response = client.get(up)
    assert response.status_code == 410
    assert "no longer kept" in response.content.decode()


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_the_pages_run_no_script_and_tell_no_one_who_reads_them(client, up, answer, language):
    for path in (up, path_of(source_link(answer.hits[0])), "/f/x"):
        response = client.get(path, headers={"Accept-Language": language})
        csp = response["Content-Security-Policy"]
        assert "script-src 'none'" in csp
        assert "unsafe" not in csp
        assert response["Referrer-Policy"] == "same-origin"
        assert "noindex" in response["X-Robots-Tag"]
        assert "no-store" in response["Cache-Control"]
        assert "<script" not in response.content.decode()
        assert 'style="' not in response.content.decode()
        assert "Access-Control-Allow-Origin" not in client.get(
            path, headers={"Origin": "http://localhost:3000"}
        )


# --- Voting by a script ------------------------------------------------------------------------


def send(client, **body):
    return client.post("/f", body, "application/json")


def test_a_script_votes_with_the_token_of_a_link_and_no_key(client, up, answer):
    assert send(client, token=up[3:], rating="up").json() == {"status": "recorded"}
    changed = send(client, token=up[3:], rating="down", correction="Use podman.")
    assert changed.status_code == 200
    assert changed.json() == {"status": "updated"}
    row = Feedback.objects.get()
    assert (row.rating, row.correction, row.channel) == (-1, "Use podman.", "button")


def test_a_script_votes_by_the_id_of_an_answer(client, answer):
    assert send(client, query_id=answer.query_id, rating="up").status_code == 201
    assert send(client, token=vote_token(answer.query_id, "up"), rating="up").status_code == 200
    assert Feedback.objects.get().rating == 1


def test_a_script_may_not_vote_on_what_it_was_not_answered(client, answer):
    error_of(send(client, query_id=str(uuid.uuid4()), rating="up"), 404, "query_not_found")
    error_of(send(client, token="x", rating="up"), 404, "link_invalid")
    error_of(send(client, rating="up"), 400, "invalid_request")
    error_of(send(client, query_id=answer.query_id), 400, "invalid_request")
    error_of(client.post("/f", {"rating": "up"}), 415)
    assert Feedback.objects.count() == 0


def test_a_script_may_not_vote_on_an_old_answer(client, answer, settings):
    old = timezone.now() - timedelta(days=settings.LINK_DAYS + 1)
    Search.objects.update(created_at=old)
    error_of(send(client, query_id=answer.query_id, rating="up"), 410, "link_expired")


def test_scripts_of_other_origins_may_not_vote(client):
    def preflight(origin):
        return client.options(
            "/f",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type",
            },
        )

    assert preflight("http://localhost:3000")["Access-Control-Allow-Origin"]
    assert "Access-Control-Allow-Origin" not in preflight("http://evil.example")


# --- Reading a source --------------------------------------------------------------------------


@pytest.fixture
def handbook(add):
    return add("handbook.md", LONG)


@pytest.fixture
def quoted(handbook):
    answer = search(SearchRequest(query="rule 3 of the handbook", collection="docs", top_k=1))
    return answer.hits[0]


def test_a_source_shows_its_passage_between_its_neighbours(client, quoted):
    page = client.get(path_of(source_link(quoted))).content.decode()
    chunk = Chunk.objects.get(pk=quoted.chunk_id)
    before, after = (
        Chunk.objects.get(revision=chunk.revision, order=chunk.order + step) for step in (-1, 1)
    )
    assert page.index(before.text[:30]) < page.index('class="quoted"')
    assert page.index('class="quoted"') < page.rindex(after.text[-30:])
    assert "<h1>Handbook</h1>" in page
    assert quoted.heading_path[-1] in page.split('class="quoted"')[0]


def test_a_source_of_a_joined_passage_marks_all_of_it(client, handbook):
    hit = search(
        SearchRequest(query="rule 3 of the handbook", collection="docs", top_k=1, context=1)
    ).hits[0]
    assert len(hit.chunk_ids) == 3
    page = client.get(path_of(source_link(hit))).content.decode()
    marked = page[page.index('class="quoted"') : page.index("</section>")]
    numbers = set(re.findall(r"Rule (\d)", hit.text))
    assert set(re.findall(r"Rule (\d)", marked)) == numbers


def test_a_source_is_the_documents_own_address_where_it_has_one(add):
    add("page.md", "# Page\n\nFound far away.\n")
    Document.objects.update(url="https://example.org/page")
    hit = search(SearchRequest(query="found far away", collection="docs")).hits[0]
    assert source_link(hit) == "https://example.org/page"


def hide(chunk):
    switch_chunks([chunk.pk], enabled=False)


def delete(chunk):
    chunk.document.tombstone()


def delete_collection(chunk):
    collection = chunk.document.collection
    collection.deleted_at = timezone.now()
    collection.save()


@pytest.mark.parametrize("vanish", [hide, delete, delete_collection])
def test_what_is_gone_is_gone_from_its_page_too(client, quoted, vanish):
    path = path_of(source_link(quoted))
    assert client.get(path).status_code == 200
    vanish(Chunk.objects.get(pk=quoted.chunk_id))
    response = client.get(path)
    assert response.status_code == 410
    page = response.content.decode()
    assert "changed, hidden or deleted" in page
    assert "Handbook" not in page
    assert "Rule" not in page


def test_a_replaced_document_no_longer_shows_its_old_text(client, quoted, add):
    path = path_of(source_link(quoted))
    add("handbook.md", "# Handbook\n\nEverything is new.\n")
    assert client.get(path).status_code == 410


def test_a_hidden_neighbour_is_not_shown(client, quoted):
    chunk = Chunk.objects.get(pk=quoted.chunk_id)
    before = Chunk.objects.get(revision=chunk.revision, order=chunk.order - 1)
    marker = before.text[:30]
    assert marker in client.get(path_of(source_link(quoted))).content.decode()
    hide(before)
    page = client.get(path_of(source_link(quoted))).content.decode()
    shown = page.split('class="quoted"')[0]
    assert marker not in shown
    assert 'class="around"' not in shown


def test_markup_in_a_document_stays_text(client, add):
    add("evil.md", "# Evil\n\nunique words <script>alert(1)</script> [x](javascript:alert(1))\n")
    hit = search(SearchRequest(query="unique words", collection="docs")).hits[0]
    page = client.get(path_of(source_link(hit))).content.decode()
    assert "<script" not in page
    assert 'href="javascript' not in page


def test_a_source_costs_the_same_few_queries_however_long_it_is(
    client, quoted, django_assert_max_num_queries
):
    assert Document.objects.count() == 1
    with django_assert_max_num_queries(2):
        client.get(path_of(source_link(quoted)))
