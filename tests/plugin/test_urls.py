"""What is true of every address: one error shape, no redirects, who may call from where."""

import pytest
from django.test import Client

from tests.plugin.conftest import error_of

pytestmark = pytest.mark.django_db

OPEN = ["/search", "/feedback", "/openapi.json", "/openapi.yaml", "/.well-known/ai-plugin.json",
        "/ai-plugin.json", "/logo.png", "/legal", "/healthz", "/readyz",
        "/mcp", "/passage", "/f",
        "/nextchat/openapi.json", "/nextchat/plugins.json", "/nextchat/masks.json",
        "/nextchat/serviceWorkerRegister.js", "/nextchat/search", "/nextchat/passage",
        "/nextchat/feedback"]  # fmt: skip
ORIGIN = "http://localhost:3000"


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


def preflight(client, path, origin=ORIGIN, method="POST"):
    return client.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/search/x", "/Search", "/.well-known/", "/openapi", "/openapi.xml", "/api/search",
     "/.env", "/search%00", "/%2e%2e/etc/passwd", "/搜索"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_unknown_address_is_a_json_404(client, path, method):
    error_of(getattr(client, method)(path), 404, "not_found")


@pytest.mark.parametrize("path", OPEN)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_trailing_slash_does_not_redirect(client, path, method):
    error_of(getattr(client, method)(f"{path}/"), 404, "not_found")


def test_a_page_for_people_keeps_its_html(client):
    response = client.get("/i18n/nothing")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/search", "/feedback", "/f", "/openapi.json", "/openapi.yaml"])
def test_a_browser_of_nextchat_may_call(client, path):
    response = preflight(client, path)
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    allowed = response["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    assert "POST" in response["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in response


@pytest.mark.parametrize("path", OPEN)
def test_every_open_address_answers_a_browser_of_nextchat(client, path):
    response = client.get(path, headers={"Origin": ORIGIN})
    assert response["Access-Control-Allow-Origin"] == ORIGIN


def test_a_refusal_too_can_be_read_by_the_browser(client):
    response = client.post(
        "/search", b"{", content_type="application/json", headers={"Origin": ORIGIN}
    )
    error_of(response, 401)
    assert response["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("origin", ["http://evil.example", "https://localhost:3000", "null"])
def test_other_origins_may_not_call(client, origin):
    assert "Access-Control-Allow-Origin" not in preflight(client, "/search", origin)


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/i18n/setlang/", "/", "/searches"])
def test_the_admin_is_closed_to_other_origins(client, path):
    for response in (preflight(client, path), client.get(path, headers={"Origin": ORIGIN})):
        assert "Access-Control-Allow-Origin" not in response


@pytest.mark.parametrize("path", [*OPEN, "/nothing"])
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "a b", "x:y"])
def test_a_wrong_host_is_refused_in_the_one_error_shape(client, path, host):
    error = error_of(client.get(path, headers={"Host": host}), 400, "host_not_allowed")
    assert "KBADMIN_ALLOWED_HOSTS" in error["message"]
    assert host not in error["message"]


@pytest.mark.parametrize("path", OPEN)
def test_no_machine_sets_a_cookie(client, path):
    assert not client.get(path).cookies
    assert not client.post(path, {}, content_type="application/json").cookies


@pytest.mark.parametrize("path", OPEN)
def test_answers_are_not_guessed_at_by_browsers(client, path):
    assert client.get(path)["X-Content-Type-Options"] == "nosniff"
