"""Documents as resources of /mcp."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from plugin.mcp import resources
from retrieval.collections import create_collection
from retrieval.hidden import switch_chunks
from retrieval.models import Chunk, Document
from tests.plugin.mcp.conftest import NEW, OLD
from tests.plugin.mcp.test_tools import LONG

pytestmark = pytest.mark.django_db


@pytest.fixture
def names(rpc):
    """The names of all listed resources, page by page."""

    def call():
        found, cursor = [], None
        while True:
            result = rpc("resources/list", {"cursor": cursor} if cursor else {})["result"]
            found.append([resource["name"] for resource in result["resources"]])
            cursor = result.get("nextCursor")
            if cursor is None:
                return found

    return call


@pytest.fixture
def text(rpc):
    def call(uri, revision=OLD):
        (content,) = rpc("resources/read", {"uri": uri}, revision=revision)["result"]["contents"]
        assert (content["uri"], content["mimeType"]) == (uri, "text/markdown")
        return content["text"]

    return call


@pytest.mark.parametrize("revision", [OLD, NEW])
def test_documents_are_listed(pages, rpc, revision):
    result = rpc("resources/list", revision=revision)["result"]
    assert [one["name"] for one in result["resources"]] == list(pages)
    assert "nextCursor" not in result
    first = result["resources"][0]
    assert first["uri"] == f"kbadmin://documents/{pages['tar.md'].pk}"
    assert (first["title"], first["mimeType"]) == ("tar", "text/markdown")
    assert first["description"] == "Docs"
    assert "T" in first["annotations"]["lastModified"]


def test_pages_of_the_list_follow_each_other(pages, names, monkeypatch):
    monkeypatch.setattr(resources, "PAGE", 2)
    assert names() == [["tar.md", "docker.md"], ["zh/tar.md"]]
    monkeypatch.setattr(resources, "PAGE", 1)
    assert names() == [["tar.md"], ["docker.md"], ["zh/tar.md"]]


def test_a_page_goes_on_behind_a_document_that_was_deleted_meanwhile(pages, rpc, monkeypatch):
    monkeypatch.setattr(resources, "PAGE", 1)
    cursor = rpc("resources/list")["result"]["nextCursor"]
    pages["tar.md"].tombstone()
    result = rpc("resources/list", {"cursor": cursor})["result"]
    assert [one["name"] for one in result["resources"]] == ["docker.md"]


@pytest.mark.parametrize("cursor", ["", "x", 5, [], "YWZ0ZXI6eA", "YWZ0ZXI6LTE", "中文", "=" * 9])
def test_a_cursor_that_is_none_of_ours_is_refused(rpc, cursor):
    assert rpc("resources/list", {"cursor": cursor})["error"]["code"] == -32602


def test_only_what_is_searched_is_listed(pages, add, names):
    add("new.md", "# New\n\nNot indexed yet.", index=False)
    pages["docker.md"].tombstone()
    switch_chunks([chunk.pk for chunk in pages["zh/tar.md"].chunks.all()], enabled=False)
    assert names() == [["tar.md"]]


def test_nothing_of_a_deleted_collection_is_listed(pages, collection, names):
    create_collection(slug="other", title="Other")
    collection.tombstone()
    assert names() == [[]]


def test_the_list_takes_as_many_queries_for_many_documents(pages, add, rpc):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            rpc("resources/list")
        return len(captured)

    rpc("resources/list")
    few = queries()
    for number in range(5):
        add(f"more-{number}.md", f"# More {number}\n\nText {number}.", index=number == 4)
    assert queries() == few


@pytest.mark.parametrize("revision", [OLD, NEW])
def test_a_document_is_read(pages, text, revision):
    uri = f"kbadmin://documents/{pages['zh/tar.md'].pk}"
    assert text(uri, revision) == "# tar\n\n解压归档文件到指定目录。"


def test_a_passage_is_read_with_what_is_around_it(add, text):
    add("manual.md", LONG)
    chunk = Chunk.objects.get(text__contains="part 50 says")
    found = text(f"kbadmin://passages/{chunk.pk}")
    assert "part 49 says" in found and "part 51 says" in found
    assert len(found) <= resources.AROUND


def test_a_long_document_is_read_in_parts(add, text, monkeypatch):
    monkeypatch.setattr(resources, "READ", 20_000)
    uri, parts = f"kbadmin://documents/{add('manual.md', LONG).pk}", []
    while uri:
        part, _, rest = text(uri).partition("\n\n[The document goes on: read ")
        parts.append(part)
        uri = rest.rstrip("]")
    assert len(parts) > 1
    assert "".join("".join(parts).split()) == "".join(LONG.split())


def test_what_is_hidden_is_not_read(add, text):
    document = add("manual.md", LONG)
    hidden = Chunk.objects.get(text__contains="part 50 says")
    switch_chunks([hidden.pk], enabled=False)
    found = text(f"kbadmin://documents/{document.pk}")
    assert "part 49 says" in found and "part 51 says" in found
    assert "part 50" not in found.lower()


@pytest.mark.parametrize(("revision", "code"), [(OLD, -32002), (NEW, -32602)])
@pytest.mark.parametrize(
    "uri",
    ["", "x", "kbadmin://documents/", "kbadmin://documents/99999999", "kbadmin://passages/0",
     "kbadmin://documents/1/2", "kbadmin://other/1", "file:///etc/passwd", "http://[",
     "kbadmin://documents/1?from=-1", "kbadmin://documents/９"],
)  # fmt: skip
def test_what_there_is_not_is_not_found(pages, post, rpc, uri, revision, code):
    if revision == NEW and not uri.isascii():
        return  # its header would be encoded, which test_protocol sees to
    error = rpc("resources/read", {"uri": uri}, revision=revision)["error"]
    assert (error["code"], error["data"]) == (code, {"uri": uri})


def test_what_is_gone_is_not_found(pages, rpc):
    document = pages["docker.md"]
    chunk = document.chunks.get()
    Document.objects.filter(pk=document.pk).tombstone()
    for uri in (f"kbadmin://documents/{document.pk}", f"kbadmin://passages/{chunk.pk}"):
        assert rpc("resources/read", {"uri": uri})["error"]["code"] == -32002


def test_templates_say_how_resources_are_named(rpc):
    found = rpc("resources/templates/list")["result"]["resourceTemplates"]
    assert [one["uriTemplate"] for one in found] == [
        "kbadmin://documents/{id}{?from}",
        "kbadmin://passages/{id}",
    ]
