"""What people see in place of a page, and what programs get in its place."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = pytest.mark.django_db


def test_a_wrong_address_leads_back_to_the_overview(page: Client) -> None:
    answer = page.get("/admin/no-such-page/")
    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.text
    assert "Playground" in answer.text, "the sidebar is there"


def test_nothing_of_the_admin_is_shown_to_strangers(client: Client) -> None:
    answer = client.get("/i18n/no-such-page/")
    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.text
    assert "Playground" not in answer.text


def test_a_refusal_says_whom_to_ask(client: Client) -> None:
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    answer = client.get("/admin/retrieval/document/")
    assert answer.status_code == 403
    assert "Ask an administrator" in answer.text


def test_a_form_without_its_token_changes_nothing_and_says_so() -> None:
    browser = Client(enforce_csrf_checks=True)
    answer = browser.post("/admin/login/", {"username": "boss", "password": "x"})
    assert answer.status_code == 403
    assert "This form is too old" in answer.text


def test_programs_get_json(client: Client) -> None:
    answer = client.get("/no-such-endpoint")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
