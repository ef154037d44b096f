"""What somebody changed of what we tell about ourselves, and who is told of it when."""

import json

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from openapi_spec_validator import validate

from plugin import identity, openapi
from plugin.doctor import Consumer, Severity, Verdict
from plugin.doctor.sources import check_own
from plugin.models import PluginIdentity

pytestmark = pytest.mark.django_db


def change(**fields):
    row, _ = PluginIdentity.objects.update_or_create(pk=PluginIdentity.ONLY, defaults=fields)
    return row


def test_a_change_is_told_at_once_and_to_those_who_have_a_copy(client):
    paths = ("/ai-plugin.json", "/openapi.json", "/openapi.yaml")
    before = {path: client.get(path) for path in paths}
    change(name_for_human="Acme notes", operations={"search": "Find passages of Acme's notes."})
    for path in paths:
        again = client.get(path, headers={"If-None-Match": before[path]["ETag"]})
        assert again.status_code == 200
        assert again["Cache-Control"] == "no-cache"
        assert b"Acme" in again.content
    spec = client.get("/openapi.json").json()
    validate(spec)
    assert spec["info"]["title"] == "Acme notes"
    assert spec["paths"]["/search"]["post"]["description"] == "Find passages of Acme's notes."
    PluginIdentity.objects.all().delete()
    for path in paths:
        assert client.get(path).content == before[path].content


def test_what_is_empty_is_the_default(settings):
    change(name_for_human="Acme", description_for_model="", operations={"search": ""})
    settings.CONTACT_EMAIL = "help@acme-notes.com"
    told = identity.current()
    assert told.name_for_human == "Acme"
    assert told.description_for_model == identity.DESCRIPTION_FOR_MODEL
    assert told.contact_email == "help@acme-notes.com"
    assert told.operations == {}


def test_there_is_one_row_and_no_other():
    change(name_for_human="one")
    with pytest.raises(IntegrityError), transaction.atomic():
        PluginIdentity.objects.create(pk=7, name_for_human="two")


@pytest.mark.parametrize("path", ["/ai-plugin.json", "/openapi.json", "/openapi.yaml", "/legal"])
def test_it_costs_one_query(client, path):
    client.get(path)
    with CaptureQueriesContext(connection) as captured:
        client.get(path)
    assert len(captured) == 1


def test_the_id_of_the_plugin_changes_with_what_nextchat_imports():
    first = identity.plugin_id()
    assert first == identity.plugin_id()
    assert first.startswith("kbsearch-")
    change(description_for_model="Not in the OpenAPI document.")
    assert identity.plugin_id() == first
    ids = {first}
    for fields in (
        {"operations": {"cited-submitFeedback": "Vote."}},
        {"name_for_human": "Acme"},
    ):
        change(**fields)
        ids.add(identity.plugin_id())
    assert len(ids) == 3


# --- Audiences ---------------------------------------------------------------------------


@pytest.fixture
def two_addresses(settings):
    settings.PUBLIC_URL = "https://kb.acme-notes.com"
    settings.PLUGIN_SERVER_URL = "http://kbadmin:8001"


@pytest.mark.parametrize(
    ("audience", "server"),
    [("plugin", "http://kbadmin:8001"), ("actions", "https://kb.acme-notes.com")],
)
def test_each_audience_is_sent_where_it_can_call(two_addresses, audience, server):
    assert openapi.document(audience)["servers"] == [{"url": server}]


@pytest.mark.parametrize("audience", openapi.AUDIENCES)
def test_each_audience_is_offered_its_operations(audience):
    document = openapi.document(audience)
    validate(document)
    assert tuple(document["paths"]) == openapi.AUDIENCES[audience].paths
    assert "$ref" not in json.dumps(document)


def test_one_identity_does_not_leak_into_another():
    changed = identity.effective({"operations": {"search": "Other words."}})
    openapi.document("plugin", changed)
    operation = openapi.document("plugin")["paths"]["/search"]["post"]
    usual = {one.key: one.description for one in openapi.operations()}
    assert operation["description"] == usual["search"]


def test_what_answers_in_another_way_is_described_in_another_way():
    usual = {one.key: one.description for one in openapi.operations()}
    assert usual["cited-search"] != usual["search"]
    told = identity.effective({"operations": {"cited-search": "Only there."}})

    def description(audience):
        return openapi.document(audience, told)["paths"]["/search"]["post"]["description"]

    assert description("plugin") == usual["search"]
    document = openapi.document("actions", told)
    assert document["paths"]["/actions/search"]["post"]["description"] == "Only there."
    assert description("nextchat") == "Only there."


def test_there_is_no_audience_that_nobody_described():
    with pytest.raises(KeyError):
        openapi.document("martians")


def test_the_defaults_pass_every_program_at_a_public_address(settings):
    settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = "https://kb.acme-notes.com"
    settings.CONTACT_EMAIL = "help@acme-notes.com"
    report = check_own()
    assert [found for found in report.findings if found.severity > Severity.ADVICE] == []
    assert report.consumers == dict.fromkeys(Consumer, Verdict.OK)


# --- Legal page --------------------------------------------------------------------------


def test_the_legal_text_is_markdown_without_anything_that_runs(client):
    change(
        legal_text="# Privacy\n\nWe *keep* nothing. [More](https://acme-notes.com/more)\n\n"
        "<script>alert(1)</script> [x](javascript:alert(1)) ![p](https://evil.example/p.png)"
    )
    response = client.get("/legal")
    html = response.content.decode()
    assert "<h1>Privacy</h1>" in html
    assert html.count("<h1") == 1
    assert "<em>keep</em>" in html
    assert 'href="https://acme-notes.com/more"' in html
    assert "<script" not in html
    assert 'href="javascript' not in html
    assert "<img" not in html


def test_the_legal_page_is_sent_again_only_where_it_has_changed(client):
    first = client.get("/legal")
    known = {"If-None-Match": first["ETag"]}
    assert client.get("/legal", headers=known).status_code == 304
    assert first["Cache-Control"] == "no-cache"
    change(legal_text="New rules.")
    assert b"New rules." in client.get("/legal", headers=known).content


def test_each_language_has_its_own_copy_of_the_legal_page():
    client = Client()
    english = client.get("/legal", headers={"Accept-Language": "en"})
    chinese = client.get("/legal", headers={"Accept-Language": "zh-hans"})
    assert english["ETag"] != chinese["ETag"]
    assert "Accept-Language" in english["Vary"]
