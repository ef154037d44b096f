"""Where the operations are called: `servers`."""

from collections.abc import Iterator
from typing import Any

from plugin.doctor.almost_json import shown
from plugin.doctor.registry import NOTHING, Found, Levels, rule
from plugin.doctor.rules.levels import (
    ADVICE,
    CHATGPT,
    ERROR,
    GPT_ACTIONS,
    MCP,
    NEXTCHAT,
    WARNING,
)
from plugin.doctor.subject import (
    Subject,
    host_of,
    is_absolute,
    is_private,
    root_domain,
    split,
)
from plugin.doctor.types import Document

O = Document.OPENAPI  # noqa: E741 - the document


def first(subject: Subject) -> str:
    """The address that clients call: the first server's."""
    listed = subject.spec.get("servers")
    entry = listed[0] if isinstance(listed, list) and listed else None
    url = entry.get("url") if isinstance(entry, dict) else None
    return url.strip() if isinstance(url, str) else ""


@rule(
    "KB220",
    "servers-missing",
    O,
    {GPT_ACTIONS: ERROR, NEXTCHAT: ERROR, MCP: WARNING, CHATGPT: ADVICE},
)
def servers_missing(subject: Subject) -> Iterator[Found]:
    """The document names no server.

    Why: GPT Actions refuse it, and NextChat's proxy does not know where to send a call.
    ChatGPT's plugins took the host of the document.

    Fix: Add servers with one absolute address, such as
    {"servers": [{"url": "https://kb.example.com"}]}.
    """
    if subject.spec and not first(subject):
        pointer = "/servers" if "servers" in subject.spec else ""
        yield Found(pointer, "No address of a server is named.")


@rule(
    "KB221",
    "server-relative",
    O,
    {GPT_ACTIONS: ERROR, NEXTCHAT: ERROR, MCP: WARNING, CHATGPT: ADVICE},
)
def server_relative(subject: Subject) -> Iterator[Found]:
    """The first server's address is not absolute.

    Why: NextChat hands it to its own server, which knows nothing of the document's address; GPT
    Actions refuse it.

    Fix: Write the whole address, with https:// and the host.
    """
    url = first(subject)
    if url and not is_absolute(url) and "{" not in url:
        yield Found("/servers/0/url", f"The address is not absolute: {shown(url)}")


@rule("KB222", "server-slash", O, {NEXTCHAT: WARNING, MCP: ADVICE})
def server_slash(subject: Subject) -> Iterator[Found]:
    """The first server's address ends in a slash.

    Why: Clients put the path, which begins with a slash, right behind it: the call goes to
    //path, which many servers do not know.

    Fix: Delete the slash at the end.
    """
    url = first(subject)
    if is_absolute(url) and url.endswith("/"):
        yield Found(
            "/servers/0/url", f"The address ends in a slash: {shown(url)}", value=url.rstrip("/")
        )


@rule("KB223", "server-not-https", O, {GPT_ACTIONS: ERROR, CHATGPT: WARNING})
def server_not_https(subject: Subject) -> Iterator[Found]:
    """The first server is called without TLS.

    Why: GPT Actions call only https, on port 443 with a public certificate. On the way,
    everybody can read questions and keys.

    Fix: Serve the API with TLS and write https://.
    """
    url = first(subject)
    if url.lower().startswith("http://") and not is_private(host_of(url)):
        yield Found("/servers/0/url", f"The address has no TLS: {shown(url)}")


@rule("KB224", "server-private", O, {GPT_ACTIONS: ERROR, CHATGPT: WARNING, NEXTCHAT: ADVICE})
def server_private(subject: Subject) -> Iterator[Found]:
    """The first server is on this machine or in a private network.

    Why: Services on the internet cannot reach it. NextChat's server can if it is on the same
    network; from inside a container, localhost is the container itself.

    Fix: Name the address under which the callers reach the API.
    """
    url = first(subject)
    if is_absolute(url) and "{" not in url and is_private(host_of(url)):
        levels: Levels | None = None
        if subject.is_local:
            levels = dict.fromkeys((GPT_ACTIONS, CHATGPT, NEXTCHAT), ADVICE)
        yield Found("/servers/0/url", f"{host_of(url)} is no host of the public internet.", levels)


@rule("KB225", "server-variable", O, {GPT_ACTIONS: WARNING, NEXTCHAT: ERROR, MCP: WARNING})
def server_variable(subject: Subject) -> Iterator[Found]:
    """The first server's address has variables in braces.

    Why: NextChat does not fill them in and calls a host that does not exist.

    Fix: Write the address out.
    """
    url = first(subject)
    if "{" in url:
        yield Found(
            "/servers/0/url", f"The address has variables: {shown(url)}", value=filled(subject, url)
        )


def filled(subject: Subject, url: str) -> Any:
    variables = subject.spec["servers"][0].get("variables")
    for name, value in variables.items() if isinstance(variables, dict) else ():
        if isinstance(value, dict):
            url = url.replace(f"{{{name}}}", str(value.get("default", "")))
    return url if "{" not in url and is_absolute(url) else NOTHING


@rule("KB234", "server-domain", O, {CHATGPT: WARNING})
def server_domain(subject: Subject) -> Iterator[Found]:
    """The API is on another domain than the manifest.

    Why: ChatGPT called only the manifest's own domain and its subdomains.

    Fix: Serve both from the same domain.
    """
    host, own = host_of(first(subject)), host_of(subject.address)
    if not host or not own or "{" in host or is_private(host) or is_private(own):
        return
    if root_domain(host) != root_domain(own):
        yield Found("/servers/0/url", f"{host} is not on the manifest's domain, {own}.")


@rule("KB240", "server-query", O, {NEXTCHAT: WARNING, GPT_ACTIONS: WARNING})
def server_query(subject: Subject) -> Iterator[Found]:
    """The first server's address has a query or a fragment.

    Why: Clients put the path behind it, where it becomes a part of the query.

    Fix: Delete everything from ? or #; describe the query as parameters.
    """
    parts = split(first(subject))
    if parts and parts.hostname and (parts.query or parts.fragment):
        yield Found("/servers/0/url", f"The address has a query: {shown(first(subject))}")
