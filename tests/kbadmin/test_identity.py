"""The page on which our own manifest and OpenAPI document are edited."""

import base64
import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from plugin import editing, identity
from plugin.models import PluginIdentity
from tests.plugin.test_logo import picture

URL = "/admin/plugin/"
FINDINGS = f"{URL}findings/"
LOGO = f"{URL}logo/"
APPLY = f"{URL}apply/"
RESET = f"{URL}reset/"


@pytest.fixture(autouse=True)
def public(settings: Any) -> None:
    settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = "https://kb.acme-notes.com"
    settings.CONTACT_EMAIL = "help@acme-notes.com"


def typed(**changes: str) -> dict[str, str]:
    """What the page sends: everything that is served, with these changes."""
    served = editing.texts_of(identity.current())
    return {**served, "version": editing.version(), "logo_data": "", **changes}


def saved(page: Client, status: int = 302, **changes: Any) -> Any:
    response = page.post(URL, typed(**changes))
    assert response.status_code == status
    return response


# --- Saving --------------------------------------------------------------------------------


def test_it_shows_what_is_served(page: Client) -> None:
    html = page.get(URL).content.decode()
    assert "Right for every program" in html
    assert 'value="knowledge_base"' in html
    assert "Find passages in the private knowledge base" in html
    assert "https://kb.acme-notes.com/.well-known/ai-plugin.json" in html
    assert identity.plugin_id() in html


def test_what_is_saved_is_told_to_programs_at_once(page: Client, client: Client) -> None:
    before, plugin_id = client.get("/openapi.json"), identity.plugin_id()
    changes: dict[str, Any] = {
        "name_for_human": "Acme notes",
        "contact_email": "notes@acme-notes.com",
        "legal_text": "# Rules\n\nBe *kind*.",
        "operation-search": "Find passages of the notes of Acme.",
        "operation-cited-fetchPassage": "Read on in the notes of Acme.",
    }
    saved(page, **changes)
    manifest = client.get("/ai-plugin.json").json()
    assert manifest["name_for_human"] == "Acme notes"
    assert manifest["contact_email"] == "notes@acme-notes.com"
    fresh = client.get("/openapi.json", headers={"If-None-Match": before["ETag"]}).json()
    assert fresh["paths"]["/search"]["post"]["description"].endswith("of Acme.")
    assert fresh["info"]["title"] == "Acme notes"
    tools = client.get("/nextchat/openapi.json").json()["paths"]
    assert tools["/passage"]["post"]["description"] == "Read on in the notes of Acme."
    assert "of Acme" not in tools["/search"]["post"]["description"]
    assert identity.plugin_id() != plugin_id
    legal = client.get("/legal").content.decode()
    assert "Be <em>kind</em>." in legal
    assert "notes@acme-notes.com" in legal


def test_only_what_is_not_the_default_is_stored(page: Client) -> None:
    saved(page, name_for_human="Acme notes")
    row = PluginIdentity.objects.get()
    assert row.name_for_human == "Acme notes"
    assert (row.name_for_model, row.contact_email, row.operations) == ("", "", {})


def test_what_is_emptied_is_the_default_again(page: Client) -> None:
    saved(page, name_for_human="Acme notes")
    saved(page, name_for_human="  ")
    assert identity.current().name_for_human == identity.NAME_FOR_HUMAN


def test_what_is_pasted_is_tidied(page: Client) -> None:
    saved(page, name_for_human="  Acme\r\n notes ", description_for_model="One.\r\nTwo.\r\n")
    told = identity.current()
    assert told.name_for_human == "Acme notes"
    assert told.description_for_model == "One.\nTwo."


def test_a_warning_is_no_reason_to_ask(page: Client) -> None:
    saved(page, description_for_human="x" * 150, contact_email="nobody")
    assert identity.current().contact_email == "nobody"


def test_it_asks_before_a_program_stops_working(page: Client) -> None:
    response = saved(page, 422, name_for_model="acme notes")
    html = response.content.decode()
    assert "Nothing is saved yet." in html
    assert "would no longer work with ChatGPT plugins (historic)" in html
    assert "Save anyway" in html
    assert 'value="acme notes"' in html
    assert identity.current() == identity.default()
    saved(page, name_for_model="acme notes", anyway="1")
    assert identity.current().name_for_model == "acme notes"
    # What is broken already is no reason to ask again.
    saved(page, name_for_human="Acme notes")


def test_what_nobody_could_store_is_refused(page: Client) -> None:
    html = saved(page, 400, name_for_human="x" * 201).content.decode()
    assert "at most 200 characters" in html
    saved(page, 400, description_for_model="a\x00b")
    assert not PluginIdentity.objects.exists()


def test_what_somebody_else_wrote_meanwhile_is_not_lost_without_a_word(page: Client) -> None:
    stale = typed(name_for_human="Mine")
    saved(page, name_for_human="Theirs")
    response = page.post(URL, stale)
    assert response.status_code == 409
    html = response.content.decode()
    assert "Somebody else has changed the plugin" in html
    assert 'value="Mine"' in html
    assert identity.current().name_for_human == "Theirs"
    page.post(URL, {**stale, "version": response.context["version"]})
    assert identity.current().name_for_human == "Mine"


def test_text_is_shown_as_text(page: Client) -> None:
    saved(page, name_for_human="<b>Acme</b>", legal_text="</textarea><script>")
    html = page.get(URL).content.decode()
    assert "<b>Acme" not in html
    assert "</textarea><script>" not in html


def test_it_is_noted_who_changed_what(page: Client) -> None:
    saved(page, name_for_human="Acme notes", legal_text="Be kind.")
    saved(page)
    entry = LogEntry.objects.get()
    assert entry.user.get_username() == "boss"
    assert entry.get_change_message() == "Changed Name for people and Legal information."
    html = page.get(URL).content.decode()
    assert "Changed Name for people and Legal information." in html
    assert "Name for people" in page.get("/admin/admin/logentry/").content.decode()


def test_tools_of_the_same_name_are_told_apart(page: Client) -> None:
    changes: dict[str, Any] = {"operation-cited-search": "Find passages."}
    saved(page, **changes)
    assert "search (POST /actions/search, /nextchat/search)" in (
        LogEntry.objects.get().get_change_message()
    )


def test_everything_goes_back_to_the_defaults_after_a_question(page: Client) -> None:
    saved(page, name_for_human="Acme notes")
    page.post(URL, {**typed(), "logo": SimpleUploadedFile("l.png", picture())})
    html = page.get(RESET).content.decode()
    assert "<li>Name for people</li>" in html
    assert "<li>Logo</li>" in html
    assert identity.current().name_for_human == "Acme notes"
    assert page.post(RESET).status_code == 302
    assert identity.current() == identity.default()
    assert "Went back to the defaults" in page.get(URL).content.decode()


# --- While somebody types ------------------------------------------------------------------


def test_what_is_typed_is_judged_and_not_stored(page: Client) -> None:
    html = page.post(FINDINGS, typed(name_for_model="acme notes")).content.decode()
    beside = html.split('id="said-name_for_model"')[1].split("</div>\n<div")[0]
    assert "KB136" in beside
    assert 'data-text="acme_notes"' in beside
    assert "Save anyway" in html
    assert "does not work" in html
    assert not PluginIdentity.objects.exists()


def test_a_fault_stands_beside_the_field_that_has_it(page: Client) -> None:
    changes = {"operation-search": "y" * 310, "description_for_human": "x" * 130}
    response = page.post(FINDINGS, typed(**changes))
    said = {
        name: [one.found.rule for one in entry.said]
        for name, entry in response.context["fields"].items()
        if entry.said
    }
    assert said == {"operation-search": ["KB401"], "description_for_human": ["KB140"]}
    html = response.content.decode()
    assert "310 of 300 characters" in html
    assert "Save anyway" not in html


def test_an_emptied_field_is_judged_as_what_would_be_served(page: Client) -> None:
    html = page.post(FINDINGS, typed(name_for_model="")).content.decode()
    assert "Right for every program" in html


def test_what_is_too_long_to_be_stored_is_judged_all_the_same(page: Client) -> None:
    response = page.post(FINDINGS, typed(description_for_model="x" * 25_000))
    assert response.status_code == 200
    assert "KB139" in response.content.decode()


def test_judging_costs_the_same_few_queries_whatever_is_typed(page: Client) -> None:
    counts = set()
    for text in ("", "x" * 5000):
        page.post(FINDINGS, typed(description_for_model=text))
        given = typed(description_for_model=text)
        with CaptureQueriesContext(connection) as captured:
            page.post(FINDINGS, given)
        counts.add(len(captured))
    assert len(counts) == 1
    assert counts.pop() < 5


# --- Logo ----------------------------------------------------------------------------------


def test_a_chosen_logo_is_made_shown_and_saved_with_the_rest(page: Client, client: Client) -> None:
    chosen = SimpleUploadedFile("logo.jpg", picture(size=(300, 100), kind="JPEG"))
    made = page.post(LOGO, {"logo": chosen})
    data = made.context["logo_data"]
    assert f"data:image/png;base64,{data}" in made.content.decode()
    assert not PluginIdentity.objects.exists()
    saved(page, logo_data=data)
    assert client.get("/logo.png").content == base64.b64decode(data)
    # A later change of a text leaves it where it is.
    saved(page, name_for_human="Acme notes")
    assert client.get("/logo.png").content == base64.b64decode(data)
    saved(page, logo_data="default")
    assert identity.current().logo_hash == ""


def test_a_logo_survives_the_question_whether_to_save(page: Client, client: Client) -> None:
    given = {**typed(name_for_model="acme notes"), "logo": SimpleUploadedFile("l.png", picture())}
    response = page.post(URL, given)
    assert response.status_code == 422
    data = response.context["logo_data"]
    assert f'name="logo_data" value="{data}"' in response.content.decode()
    saved(page, name_for_model="acme notes", anyway="1", logo_data=data)
    assert client.get("/logo.png").content == base64.b64decode(data)


@pytest.mark.parametrize("where", [URL, LOGO])
def test_a_logo_that_is_none_is_refused_with_a_sentence(page: Client, where: str) -> None:
    svg = SimpleUploadedFile("logo.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>')
    response = page.post(where, {**typed(), "logo": svg})
    assert response.status_code == (400 if where == URL else 422)
    assert "SVG can carry scripts" in response.content.decode()
    assert not PluginIdentity.objects.exists()


@pytest.mark.parametrize("data", ["%%%", "aGVsbG8=", "default "])
def test_what_is_sent_as_a_logo_is_looked_at_again(page: Client, data: str) -> None:
    if data.strip() == "default":
        saved(page, logo_data=data)
    else:
        assert "no picture" in saved(page, 400, logo_data=data).content.decode()
    assert identity.current().logo_hash == ""


# --- From the doctor's report --------------------------------------------------------------


def test_a_ready_fix_is_applied_from_the_report(page: Client, client: Client) -> None:
    saved(page, name_for_model="acme notes", anyway="1")
    html = page.get("/admin/plugin-doctor/?kind=own").content.decode()
    assert "Apply: write “acme_notes”" in html
    assert f"{URL}#id_name_for_model" in html
    fix = {"rule": "KB136", "document": "manifest", "pointer": "/name_for_model"}
    response = page.post(APPLY, fix, follow=True)
    assert "Mended." in response.content.decode()
    assert "Apply:" not in response.content.decode()
    assert client.get("/ai-plugin.json").json()["name_for_model"] == "acme_notes"
    assert LogEntry.objects.count() == 2
    again = page.post(APPLY, fix, follow=True).content.decode()
    assert "There is nothing to mend there any more." in again


def test_nothing_is_applied_that_the_doctor_did_not_find(page: Client) -> None:
    fix = {"rule": "KB136", "document": "manifest", "pointer": "/auth", "value": "evil"}
    page.post(APPLY, fix)
    page.post(APPLY, {})
    assert not PluginIdentity.objects.exists()
    assert page.get(APPLY).status_code == 405


def test_documents_of_others_have_nothing_to_apply(page: Client) -> None:
    text = json.dumps({"schema_version": "v1", "name_for_model": "acme notes"})
    html = page.post("/admin/plugin-doctor/", {"kind": "text", "text": text}).content.decode()
    assert "KB136" in html
    assert "Apply" not in html


# --- Who may -------------------------------------------------------------------------------


@pytest.fixture
def reader(client: Client) -> Client:
    user = User.objects.create_user("reader", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_pluginidentity"))
    client.force_login(user)
    return client


def test_who_may_only_look_changes_nothing(db: None, reader: Client) -> None:
    html = reader.get(URL).content.decode()
    assert "<fieldset" in html
    assert "disabled" in html.split("<fieldset", 1)[1].split(">", 1)[0]
    assert 'id="identity-save"' not in html
    for path in (URL, FINDINGS, LOGO, APPLY, RESET):
        assert reader.post(path, typed(name_for_human="x")).status_code == 403, path
    assert not PluginIdentity.objects.exists()


def test_who_has_no_permission_sees_nothing(db: None, client: Client) -> None:
    client.force_login(User.objects.create_user("other", password="x", is_staff=True))
    assert client.get(URL).status_code == 403
    assert URL not in client.get("/admin/").content.decode()


def test_who_is_logged_out_meanwhile_is_led_to_the_login(db: None, client: Client) -> None:
    for path in (FINDINGS, LOGO):
        response = client.post(path, typed())
        assert (response.status_code, response["HX-Refresh"]) == (204, "true")
    assert client.get(URL).status_code == 302


def test_a_change_needs_the_token_of_the_page(db: None, boss: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(boss)
    for path in (URL, FINDINGS, LOGO, APPLY, RESET):
        assert strict.post(path, typed(name_for_human="x")).status_code == 403, path
