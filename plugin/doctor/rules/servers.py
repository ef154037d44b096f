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
from retrieval.sentences import Sentence as _

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
    what=_("The document names no server."),
    why=_(
        "GPT Actions refuse it, and NextChat's proxy does not know where to send a call. ChatGPT's "
        "plugins took the host of the document."
    ),
    fix=_(
        'Add servers with one absolute address, such as {"servers": [{"url": '
        '"https://kb.example.com"}]}.'
    ),
)
def servers_missing(subject: Subject) -> Iterator[Found]:
    if subject.spec and not first(subject):
        pointer = "/servers" if "servers" in subject.spec else ""
        yield Found(pointer, _("No address of a server is named."))


@rule(
    "KB221",
    "server-relative",
    O,
    {GPT_ACTIONS: ERROR, NEXTCHAT: ERROR, MCP: WARNING, CHATGPT: ADVICE},
    what=_("The first server's address is not absolute."),
    why=_(
        "NextChat hands it to its own server, which knows nothing of the document's address; GPT "
        "Actions refuse it."
    ),
    fix=_("Write the whole address, with https:// and the host."),
)
def server_relative(subject: Subject) -> Iterator[Found]:
    url = first(subject)
    if url and not is_absolute(url) and "{" not in url:
        yield Found("/servers/0/url", _("The address is not absolute: %(url)s", url=shown(url)))


@rule(
    "KB222",
    "server-slash",
    O,
    {NEXTCHAT: WARNING, MCP: ADVICE},
    what=_("The first server's address ends in a slash."),
    why=_(
        "Clients put the path, which begins with a slash, right behind it: the call goes to "
        "//path, which many servers do not know."
    ),
    fix=_("Delete the slash at the end."),
)
def server_slash(subject: Subject) -> Iterator[Found]:
    url = first(subject)
    if is_absolute(url) and url.endswith("/"):
        yield Found(
            "/servers/0/url",
            _("The address ends in a slash: %(url)s", url=shown(url)),
            value=url.rstrip("/"),
        )


@rule(
    "KB223",
    "server-not-https",
    O,
    {GPT_ACTIONS: ERROR, CHATGPT: WARNING},
    what=_("The first server is called without TLS."),
    why=_(
        "GPT Actions call only https, on port 443 with a public certificate. On the way, everybody "
        "can read questions and keys."
    ),
    fix=_("Serve the API with TLS and write https://."),
)
def server_not_https(subject: Subject) -> Iterator[Found]:
    url = first(subject)
    if url.lower().startswith("http://") and not is_private(host_of(url)):
        yield Found("/servers/0/url", _("The address has no TLS: %(url)s", url=shown(url)))


@rule(
    "KB224",
    "server-private",
    O,
    {GPT_ACTIONS: ERROR, CHATGPT: WARNING, NEXTCHAT: ADVICE},
    what=_("The first server is on this machine or in a private network."),
    why=_(
        "Services on the internet, such as GPT Actions, can never reach it. NextChat's server can "
        "if it is on the same network; from inside a container, localhost is the container itself."
    ),
    fix=_("Name the address under which the callers reach the API."),
)
def server_private(subject: Subject) -> Iterator[Found]:
    url = first(subject)
    if is_absolute(url) and "{" not in url and is_private(host_of(url)):
        levels: Levels | None = None
        if subject.is_local:
            # A trial: whoever tries it is near enough, but OpenAI's servers never are.
            levels = {GPT_ACTIONS: ERROR, CHATGPT: ADVICE, NEXTCHAT: ADVICE}
        yield Found(
            "/servers/0/url",
            _("%(host)s is no host of the public internet.", host=host_of(url)),
            levels,
        )


@rule(
    "KB225",
    "server-variable",
    O,
    {GPT_ACTIONS: WARNING, NEXTCHAT: ERROR, MCP: WARNING},
    what=_("The first server's address has variables in braces."),
    why=_("NextChat does not fill them in and calls a host that does not exist."),
    fix=_("Write the address out."),
)
def server_variable(subject: Subject) -> Iterator[Found]:
    url = first(subject)
    if "{" in url:
        yield Found(
            "/servers/0/url",
            _("The address has variables: %(url)s", url=shown(url)),
            value=filled(subject, url),
        )


def filled(subject: Subject, url: str) -> Any:
    variables = subject.spec["servers"][0].get("variables")
    for name, value in variables.items() if isinstance(variables, dict) else ():
        if isinstance(value, dict):
            url = url.replace(f"{{{name}}}", str(value.get("default", "")))
    return url if "{" not in url and is_absolute(url) else NOTHING


@rule(
    "KB234",
    "server-domain",
    O,
    {CHATGPT: WARNING},
    what=_("The API is on another domain than the manifest."),
    why=_("ChatGPT called only the manifest's own domain and its subdomains."),
    fix=_("Serve both from the same domain."),
)
def server_domain(subject: Subject) -> Iterator[Found]:
    host, own = host_of(first(subject)), host_of(subject.address)
    if not host or not own or "{" in host or is_private(host) or is_private(own):
        return
    if root_domain(host) != root_domain(own):
        yield Found(
            "/servers/0/url",
            _("%(host)s is not on the manifest's domain, %(own)s.", host=host, own=own),
        )


@rule(
    "KB240",
    "server-query",
    O,
    {NEXTCHAT: WARNING, GPT_ACTIONS: WARNING},
    what=_("The first server's address has a query or a fragment."),
    why=_("Clients put the path behind it, where it becomes a part of the query."),
    fix=_("Delete everything from ? or #; describe the query as parameters."),
)
def server_query(subject: Subject) -> Iterator[Found]:
    parts = split(first(subject))
    if parts and parts.hostname and (parts.query or parts.fragment):
        yield Found(
            "/servers/0/url", _("The address has a query: %(url)s", url=shown(first(subject)))
        )
