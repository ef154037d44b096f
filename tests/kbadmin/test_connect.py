"""The Connect page: keys made on the spot, and texts to copy."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from kbadmin.pages.connect.guides import GUIDES, NO_KEY
from plugin.rehearsal import CLIENTS
from retrieval.collections import create_collection
from retrieval.models import ApiKey, Collection


@pytest.mark.parametrize("name", GUIDES)
def test_every_client_has_a_guide_and_a_sequence(
    page: Client, collection: Collection, name: str
) -> None:
    text = page.get(reverse("admin:connect"), {"client": name}).content.decode()
    assert name in CLIENTS
    assert str(GUIDES[name].about) in text
    assert "Make a key" in text


def test_a_key_is_made_once_and_filled_in(page: Client, collection: Collection) -> None:
    url = f"{reverse('admin:connect')}?client=nextchat"
    assert NO_KEY in page.get(url).content.decode()
    response = page.post(url)
    key = response.context["issued_key"]
    row = ApiKey.objects.all().authenticate(key)
    assert row is not None
    assert ApiKey.objects.get(pk=row.pk).name == "NextChat"
    text = response.content.decode()
    assert f"OPENAI_API_KEY={key}" in text
    assert NO_KEY not in text
    assert key not in page.get(url).content.decode()


def test_without_a_right_no_key_is_made(client: Client, collection: Collection) -> None:
    viewer = User.objects.create_user("viewer", password="x", is_staff=True)
    client.force_login(viewer)
    url = reverse("admin:connect")
    assert client.get(url).status_code == 403
    assert client.post(reverse("admin:connect_test"), {"client": "code"}).status_code == 403
    viewer.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    assert client.get(url).status_code == 200
    assert client.post(url).status_code == 403
    assert not ApiKey.objects.exists()


def test_an_unknown_client_is_a_clear_400(page: Client, collection: Collection) -> None:
    assert page.get(reverse("admin:connect"), {"client": "x"}).status_code == 400
    assert page.post(reverse("admin:connect_test"), {"client": "x"}).status_code == 400


def test_it_works_before_there_is_a_collection(page: Client) -> None:
    for client in GUIDES:
        assert page.get(reverse("admin:connect"), {"client": client}).status_code == 200


def test_another_collection_is_another_model(page: Client, collection: Collection) -> None:
    create_collection(slug="manuals", title="Manuals")
    url = reverse("admin:connect")
    text = page.get(url, {"client": "nextchat", "collection": "manuals"}).content.decode()
    assert "+manuals@OpenAI" in text


def test_who_was_logged_out_is_not_shown_a_login_inside_the_page(client: Client) -> None:
    response = client.post(reverse("admin:connect_test"), {"client": "code"})
    assert (response.status_code, response["HX-Refresh"]) == (204, "true")
