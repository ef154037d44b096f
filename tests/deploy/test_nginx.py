"""deploy/nginx.conf, in a real nginx, without its certificates."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import stop
from tests.isolation import free_port
from tests.test_architecture import ROOT
from tests.web_server import Site, serve

#: nginx stands where an ordinary user's PATH does not look.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = pytest.mark.skipif(
    NGINX is None and not os.environ.get("CI"), reason="nginx is not installed"
)
MAIN = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    {bodies}
    include {folder}/servers.conf;
}}
"""
BODIES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@pytest.fixture
def site() -> Iterator[Site]:
    """In the place of kbadmin and of NextChat."""
    with serve() as site:
        for path in ("/admin/login/", "/", "/api/proxy/search"):
            site.page(path, f"page {path}")
        yield site


@pytest.fixture
def nginx(tmp_path: Path, site: Site) -> Iterator[httpx.Client]:
    """A client of nginx, which listens on a port of its own."""
    port = free_port()
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    text = re.sub(r"^\s*ssl_\w+ .*;\n", "", text, flags=re.MULTILINE)
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    text = re.sub(r"http://127\.0\.0\.1:(8001|3000)", site.url, text)
    (tmp_path / "servers.conf").write_text(text)
    bodies = "\n".join(f"{name}_temp_path {tmp_path}/{name};" for name in BODIES)
    (tmp_path / "nginx.conf").write_text(MAIN.format(folder=tmp_path, bodies=bodies))
    process = subprocess.Popen(
        [NGINX or "nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            deadline = time.monotonic() + 20
            while True:
                assert process.poll() is None, (tmp_path / "error.log").read_text()
                try:
                    client.get("/")
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield client
    finally:
        stop(process)


def ask(nginx: httpx.Client, host: str, path: str, **headers: str) -> httpx.Response:
    return nginx.get(path, headers={"Host": f"{host}.example.org", **headers})


def test_both_names_lead_to_what_stands_behind_them(nginx, site):
    assert ask(nginx, "kb", "/admin/login/").text == "page /admin/login/"
    assert ask(nginx, "chat", "/").text == "page /"
    assert ("kb.example.org", "/admin/login/") in site.asked


@pytest.mark.parametrize("base", ["http://web:8001", "http://web:8001/nextchat"])
def test_nextchats_proxy_asks_the_knowledge_base(nginx, base):
    answer = ask(nginx, "chat", "/api/proxy/search", **{"X-Base-URL": base})
    assert (answer.status_code, answer.text) == (200, "page /api/proxy/search")


@pytest.mark.parametrize(
    "base",
    [
        "http://169.254.169.254",
        "http://web:80012",
        "http://web:8001.example.org",
        "http://x/?http://web:8001",
        "",
    ],
)
def test_nextchats_proxy_asks_nobody_else(nginx, site, base):
    answer = ask(nginx, "chat", "/api/proxy/search", **({"X-Base-URL": base} if base else {}))
    assert answer.status_code == 403
    assert not any(path == "/api/proxy/search" for _, path in site.asked)
