"""Kept checks: the list, one of them again, and what changed between two."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from plugin.models import Check
from tests.kbadmin.test_doctor import JSON_URL, OPENAPI, URL, manifest, site
from tests.web_server import Site

__all__ = ["site"]

COMPARE = f"{URL}compare/"


def paste(page: Client, text: str, openapi: Any = OPENAPI) -> Check:
    """Checks a pasted manifest on the page, and gives what was kept of it."""
    second = openapi if isinstance(openapi, str) else json.dumps(openapi, indent=1)
    assert page.post(URL, {"kind": "text", "text": text, "openapi_text": second}).status_code == 200
    return Check.objects.latest("pk")


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_check_is_kept_with_who_when_and_what_came_out(page: Client) -> None:
    check = paste(page, manifest(contact_email="nobody"))
    assert (check.kind, check.source, check.is_live) == ("text", "acme_notes", False)
    assert check.made_by is not None
    assert check.errors + check.warnings > 0
    assert check.verdicts.keys() == {"chatgpt", "gpt-actions", "nextchat", "langchain", "mcp"}
    assert "KB" in check.data["findings"][0]["rule"]
    assert '"contact_email": "nobody"' in check.manifest
    assert json.loads(check.openapi) == OPENAPI
    html = page.get(URL).content.decode()
    assert f'href="{URL}checks/{check.pk}/"' in html
    assert "acme_notes pasted text · just now , boss" in words(html)


def test_a_kept_report_is_the_one_that_was_shown(page: Client, site: Site) -> None:
    given = {"kind": "url", "address": f"{site.url}/ai-plugin.json", "live": "on"}
    made = page.post(URL, given)
    check = Check.objects.get()
    assert check.is_live
    asked = len(site.asked)
    again = page.get(f"{URL}checks/{check.pk}/")
    assert len(site.asked) == asked
    for name in ("headline", "state", "matrix", "tools", "mended", "addresses", "card"):
        assert again.context[name] == made.context[name], name
    seen = []
    for response in (made, again):
        titles = [(one.title, one.count) for one in response.context["groups"]]
        raws = [(name, one.raw, one.milliseconds) for name, one in response.context["exchanges"]]
        seen.append((titles, raws, response.context["report"].as_json()))
    assert seen[0] == seen[1]
    html = again.content.decode()
    assert "KB101 logo-url-case" in html
    assert 'src="data:image/png;base64,' in html
    assert "<script>alert" not in html


def test_what_changed_between_two_checks_is_told(page: Client) -> None:
    paste(page, manifest(contact_email="nobody", legal_info_url=""))
    spec = json.loads(json.dumps(OPENAPI))
    del spec["paths"]["/search"]["post"]["operationId"]
    check = paste(page, manifest(legal_info_url=""), spec)
    assert check.previous is not None
    response = page.get(COMPARE, {"new": check.pk})
    context = response.context
    new, gone = ({item.found.name for item in one.entries} for one in context["groups"])
    same = {item.found.name for item in context["unchanged"].entries}
    assert "operation-id-missing" in new
    assert gone
    assert same
    assert not new & gone
    assert (check.appeared, check.gone) == tuple(one.count for one in context["groups"])
    steps = {one.name: (one.old, one.new) for one in context["steps"]}
    assert steps["GPT Actions"] == ("ok", "error")
    html = response.content.decode()
    assert "&quot;contact_email&quot;: &quot;nobody&quot;" in html
    assert "&quot;operationId&quot;" in html
    assert [(one.added, one.removed) for one in context["texts"]] == [(1, 1), (0, 1)]


def test_a_finding_that_only_moved_is_no_new_one(page: Client) -> None:
    text = manifest(contact_email="nobody")
    paste(page, text)
    check = paste(page, "\n\n" + text)
    assert (check.appeared, check.gone) == (0, 0)
    html = words(page.get(COMPARE, {"new": check.pk}).content.decode())
    assert "New findings 0 None. Gone 0 None. Unchanged" in html


def test_any_two_of_a_source_are_compared(page: Client) -> None:
    first = paste(page, manifest(contact_email="nobody"))
    paste(page, manifest())
    third = paste(page, manifest(contact_email=""))
    other = paste(page, manifest(name_for_model="another"))
    response = page.get(COMPARE, {"old": first.pk, "new": third.pk})
    assert response.context["old"].check == first
    assert {one.pk for one in response.context["others"]} == set(
        Check.objects.filter(source="acme_notes").values_list("pk", flat=True)
    )
    assert other.previous is None
    assert page.get(COMPARE, {"old": other.pk, "new": third.pk}).status_code == 200


@pytest.mark.parametrize(
    "given", ["", "?new=", "?new=x", "?new=9999", "?new=²", "?new=" + "9" * 30]
)
def test_what_was_not_kept_is_not_found(page: Client, given: str) -> None:
    assert page.get(COMPARE + given).status_code == 404
    assert page.get(f"{URL}checks/9999/").status_code == 404


def test_asking_the_servers_in_one_of_two_checks_only_is_told(page: Client, site: Site) -> None:
    address = f"{site.url}/ai-plugin.json"
    page.post(URL, {"kind": "url", "address": address})
    page.post(URL, {"kind": "url", "address": address, "live": "on"})
    html = page.get(COMPARE, {"new": Check.objects.latest("pk").pk}).content.decode()
    assert "Only in one of the two were the servers asked" in html


def test_programs_keep_theirs_too_and_a_link_keeps_nothing(page: Client) -> None:
    page.get(JSON_URL)
    page.get(URL, {"kind": "own"})
    assert not Check.objects.exists()
    report = page.post(JSON_URL, {"kind": "own"}).json()
    check = Check.objects.get()
    assert report["check"] == check.pk
    assert str(check) == "Our own"
    assert "Our own manifest" in page.get(f"{URL}checks/{check.pk}/").content.decode()


def test_only_so_many_are_kept_and_the_oldest_go(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugin.doctor.history.KEPT_OF_SOURCE", 2)
    monkeypatch.setattr("plugin.doctor.history.KEPT", 3)
    made = [paste(page, manifest(name_for_model=name)).pk for name in ("a", "a", "a", "b", "c")]
    assert set(Check.objects.values_list("pk", flat=True)) == set(made[2:])
    assert Check.objects.get(pk=made[2]).previous is None
    monkeypatch.setattr("plugin.doctor.history.KEPT_CHARACTERS", 1)
    last = paste(page, manifest())
    assert list(Check.objects.all()) == [last]


def test_long_lists_are_turned_page_by_page(page: Client) -> None:
    made = [paste(page, manifest()) for _ in range(11)]
    first = page.get(URL).content.decode()
    assert f"checks/{made[-1].pk}/" in first
    assert f"checks/{made[0].pk}/" not in first
    assert f"checks/{made[0].pk}/" in page.get(URL, {"p": 2}).content.decode()


@pytest.mark.parametrize(
    "text", ["{\0\0\0", r'{"schema_version": "\u0000", "name_for_model": "\ud800"}', '{"a": 1e999}']
)
def test_what_a_database_cannot_hold_is_kept_without_it(page: Client, text: str) -> None:
    files = {
        "file": SimpleUploadedFile("ai-plugin.json", text.encode()),
        "openapi_file": SimpleUploadedFile("x", b"openapi: 3.0.3\ninfo: {title: .inf}\n"),
    }
    assert page.post(URL, {"kind": "file", **files}).status_code == 200
    check = Check.objects.get()
    assert page.get(f"{URL}checks/{check.pk}/").status_code == 200
    assert "\0" not in check.manifest


def test_a_check_is_made_again_or_deleted(page: Client) -> None:
    check = paste(page, manifest(contact_email="nobody"))
    html = page.get(f"{URL}checks/{check.pk}/").content.decode()
    assert "Check again" in html
    assert page.get(f"{URL}checks/{check.pk}/delete/").status_code == 405
    page.post(f"{URL}checks/{check.pk}/delete/")
    assert not Check.objects.exists()


def test_only_those_who_may_check_see_them(page: Client, client: Client) -> None:
    check = paste(page, manifest())
    user = User.objects.create_user("guest", password="x", is_staff=True)
    client.force_login(user)
    addresses = [f"{URL}checks/{check.pk}/", f"{COMPARE}?new={check.pk}"]
    assert [client.get(address).status_code for address in addresses] == [403, 403]
    assert client.post(f"{URL}checks/{check.pk}/delete/").status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_index"))
    assert [client.get(address).status_code for address in addresses] == [200, 200]
