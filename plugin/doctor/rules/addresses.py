"""The addresses that a manifest names: the OpenAPI document, logo, legal page, e-mail."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import urljoin

from plugin.doctor.almost_json import shown
from plugin.doctor.registry import NOTHING, Found, Levels, rule
from plugin.doctor.rules.levels import (
    ADVICE,
    CHATGPT,
    ERROR,
    LANGCHAIN,
    WARNING,
    readers,
)
from plugin.doctor.rules.manifest import text_of
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

M = Document.MANIFEST
#: What an address may be made of; others must be quoted as %XX.
URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")
EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+"
)
PLACEHOLDER = re.compile(
    r"(?i)\bexample\.(?:com|org|net)\b|\byour[-_]?(?:domain|company|app|api|host|site)\b"
    r"|PLUGIN_HOSTNAME|<[a-z _-]+>|\bTODO\b|\blorem ipsum\b"
)
PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".ico", ".avif", ".bmp"}


def addresses(subject: Subject) -> Iterator[tuple[str, str]]:
    """(pointer, address) of each that is there and is a text."""
    api = subject.fields.get("api")
    url = api.get("url") if isinstance(api, dict) else None
    if isinstance(url, str) and url.strip():
        yield "/api/url", url
    for key in ("logo_url", "legal_info_url"):
        if found := text_of(subject, key).strip():
            yield f"/{key}", found


def is_written_well(url: str) -> bool:
    return bool(URL.fullmatch(url)) and split(url) is not None


def is_relative(url: str) -> bool:
    return url.startswith(("/", "./", "../"))


@rule(
    "KB101",
    "logo-url-case",
    M,
    {CHATGPT: ADVICE},
    what=_(
        "The logo's address has capital letters in the name of its file, or a server answers only "
        "to another case than the manifest names."
    ),
    why=_(
        "Most servers tell Logo.PNG from logo.png. A logo that is not found makes some clients "
        "hide the whole plugin, without a word in the console."
    ),
    fix=_("Name the file exactly as the server has it; small letters throughout are safest."),
)
def logo_url_case(subject: Subject) -> Iterator[Found]:
    url = text_of(subject, "logo_url").strip()
    parts = split(url)
    if parts and is_written_well(url) and not parts.query:
        name = PurePosixPath(parts.path).name
        suffix = PurePosixPath(name).suffix
        if suffix.lower() in PICTURES and suffix != suffix.lower():
            yield Found(
                "/logo_url",
                _(
                    "The logo's file is called %(name)s; a server may have it only as %(small)s.",
                    name=shown(name),
                    small=shown(name[: -len(suffix)] + suffix.lower()),
                ),
            )


@rule(
    "KB141",
    "api-type",
    M,
    {CHATGPT: WARNING, LANGCHAIN: ERROR},
    what=_('`api.type` is not "openapi".'),
    why=_(
        "It is the only type there is. ChatGPT took manifests without it; LangChain's loader stops "
        "where it is missing."
    ),
    fix=_('Write "type": "openapi".'),
)
def api_type(subject: Subject) -> Iterator[Found]:
    api = subject.fields.get("api")
    if not isinstance(api, dict):
        return
    if "type" not in api or not isinstance(api["type"], str):
        yield Found("/api", _("api has no type."))
    elif api["type"] != "openapi":
        yield Found(
            "/api/type",
            _("api.type is %(type)s.", type=repr(shown(api["type"]))),
            {CHATGPT: ERROR},
            value="openapi",
        )


@rule(
    "KB142",
    "api-url-missing",
    M,
    readers(ERROR),
    what=_("`api.url` is missing or no text."),
    why=_("Without it nobody finds the OpenAPI document."),
    fix=_("Name the address of the OpenAPI document."),
)
def api_url_missing(subject: Subject) -> Iterator[Found]:
    api = subject.fields.get("api")
    if isinstance(api, dict) and not (isinstance(api.get("url"), str) and api["url"].strip()):
        pointer = "/api/url" if "url" in api else "/api"
        yield Found(pointer, _("api names no url of an OpenAPI document."))


@rule(
    "KB143",
    "api-url-relative",
    M,
    {LANGCHAIN: ERROR, CHATGPT: ADVICE},
    what=_("`api.url` is relative."),
    why=_(
        "ChatGPT resolved it against the manifest's address; LangChain's loader asks for it as it "
        "stands, and fails."
    ),
    fix=_("Write the whole address, with https:// and the host."),
)
def api_url_relative(subject: Subject) -> Iterator[Found]:
    for pointer, url in addresses(subject):
        if pointer == "/api/url" and is_relative(url):
            whole = urljoin(subject.address, url) if is_absolute(subject.address) else NOTHING
            yield Found(pointer, _("api.url is relative: %(url)s", url=shown(url)), value=whole)


@rule(
    "KB144",
    "url-not-absolute",
    M,
    {CHATGPT: WARNING},
    what=_("An address does not begin with http:// or https://."),
    why=_("A client that does not know where the manifest came from cannot follow it."),
    fix=_("Write the whole address, with https:// and the host."),
)
def url_not_absolute(subject: Subject) -> Iterator[Found]:
    for pointer, url in addresses(subject):
        if is_absolute(url) or not is_written_well(url):
            continue
        if is_relative(url):
            if pointer != "/api/url":
                yield Found(
                    pointer,
                    _("The address is relative: %(url)s", url=shown(url)),
                    {CHATGPT: ADVICE},
                )
        else:
            levels = readers(ERROR) if pointer == "/api/url" else {CHATGPT: WARNING}
            yield Found(
                pointer, _("This is no address of the web: %(url)s", url=shown(url)), levels
            )


@rule(
    "KB145",
    "url-not-https",
    M,
    {CHATGPT: WARNING},
    what=_("An address on a public host begins with http://."),
    why=_(
        "ChatGPT asked for TLS 1.2 or later on port 443 for the OpenAPI document. A page that is "
        "served with TLS shows no logo without, and people are led to an unprotected legal page."
    ),
    fix=_("Serve it with TLS and write https://."),
)
def url_not_https(subject: Subject) -> Iterator[Found]:
    for pointer, url in addresses(subject):
        if url.lower().startswith("http://") and not is_private(host_of(url)):
            level = {"/api/url": ERROR, "/logo_url": WARNING}.get(pointer, ADVICE)
            yield Found(
                pointer, _("The address has no TLS: %(url)s", url=shown(url)), {CHATGPT: level}
            )


@rule(
    "KB146",
    "url-private-host",
    M,
    {CHATGPT: WARNING},
    what=_("An address is on this machine or in a private network."),
    why=_(
        "Only programs on that machine or network reach it. ChatGPT took localhost for a trial, "
        "and only with auth none."
    ),
    fix=_("Give the address under which everybody reaches it."),
)
def url_private_host(subject: Subject) -> Iterator[Found]:
    for pointer, url in addresses(subject):
        if is_absolute(url) and is_private(host_of(url)):
            level = WARNING
            if pointer == "/api/url" and subject.auth.get("type", "none") != "none":
                level = ERROR
            if subject.is_local:
                level = ADVICE
            yield Found(
                pointer,
                _("%(host)s is no host of the public internet.", host=host_of(url)),
                {CHATGPT: level},
            )


@rule(
    "KB147",
    "email-invalid",
    M,
    {CHATGPT: WARNING},
    what=_("`contact_email` is no e-mail address."),
    why=_("Nobody can report a fault, and a store's mail does not arrive."),
    fix=_("Give one address, such as support@your-domain, and nothing else."),
)
def email_invalid(subject: Subject) -> Iterator[Found]:
    found = text_of(subject, "contact_email")
    if found.strip() and not EMAIL.fullmatch(found):
        plain = found.strip().removeprefix("mailto:")
        value = plain if EMAIL.fullmatch(plain) else NOTHING
        yield Found(
            "/contact_email",
            _("This is no e-mail address: %(text)s", text=shown(found)),
            value=value,
        )


@rule(
    "KB149",
    "contact-domain",
    M,
    {CHATGPT: ADVICE},
    what=_("`contact_email` is on another domain than the API."),
    why=_("Stores compared them: the same second-level domain shows that both are yours."),
    fix=_("Use an address on your own domain."),
)
def contact_domain(subject: Subject) -> Iterator[Found]:
    found = text_of(subject, "contact_email")
    host = api_host(subject)
    if EMAIL.fullmatch(found) and host and not is_private(host):
        domain = found.rpartition("@")[2]
        if root_domain(domain) != root_domain(host):
            yield Found(
                "/contact_email",
                _("%(domain)s is not the domain of the API, %(host)s.", domain=domain, host=host),
            )


@rule(
    "KB150",
    "legal-domain",
    M,
    {CHATGPT: ADVICE},
    what=_("`legal_info_url` is on another domain than the API."),
    why=_("Stores compared them: the same second-level domain shows that both are yours."),
    fix=_("Put the page on your own domain."),
)
def legal_domain(subject: Subject) -> Iterator[Found]:
    host, own = host_of(text_of(subject, "legal_info_url")), api_host(subject)
    if host and own and not is_private(own) and root_domain(host) != root_domain(own):
        yield Found(
            "/legal_info_url",
            _("%(host)s is not on the domain of the API, %(own)s.", host=host, own=own),
        )


@rule(
    "KB151",
    "api-domain",
    M,
    {CHATGPT: WARNING},
    what=_("`api.url` is on another domain than the manifest."),
    why=_("ChatGPT took it only from the manifest's own domain or a subdomain of it."),
    fix=_("Serve both from the same domain."),
)
def api_domain(subject: Subject) -> Iterator[Found]:
    host, own = api_host(subject), host_of(subject.address)
    if not host or not own or is_private(host) or is_private(own):
        return
    if root_domain(host) != root_domain(own):
        yield Found(
            "/api/url", _("%(host)s is not on the manifest's domain, %(own)s.", host=host, own=own)
        )


def api_host(subject: Subject) -> str:
    api = subject.fields.get("api")
    url = api.get("url") if isinstance(api, dict) else ""
    return host_of(url) if isinstance(url, str) else ""


@rule(
    "KB158",
    "url-characters",
    M,
    {CHATGPT: WARNING},
    what=_(
        "An address holds white space or other characters that addresses cannot have, or a port "
        "that is none."
    ),
    why=_("Some clients mend it, others refuse it or cut it off."),
    fix=_("Delete white space; write other characters as %XX."),
)
def url_characters(subject: Subject) -> Iterator[Found]:
    for pointer, url in addresses(subject):
        raw = url
        if pointer != "/api/url":
            raw = text_of(subject, pointer[1:])
        if not is_written_well(raw):
            levels: Levels = {CHATGPT: WARNING}
            if pointer == "/api/url":  # LangChain's loader quotes what it can
                levels = readers(ERROR) if split(raw) is None else {**levels, LANGCHAIN: ADVICE}
            value = raw.strip() if is_written_well(raw.strip()) else NOTHING
            yield Found(
                pointer,
                _("This is not how an address is written: %(url)s", url=repr(shown(raw))),
                levels,
                value=value,
            )


@rule(
    "KB159",
    "url-credentials",
    M,
    {CHATGPT: WARNING},
    what=_("An address carries a user name or a password."),
    why=_("Everybody can read a manifest, and browsers refuse to fetch such addresses."),
    fix=_("Delete them, and replace that password: it has been public."),
)
def url_credentials(subject: Subject) -> Iterator[Found]:
    for pointer, url in addresses(subject):
        parts = split(url)
        if parts and "@" in parts.netloc:
            yield Found(
                pointer,
                _("The address of %(host)s carries a user or a password.", host=parts.hostname),
            )


@rule(
    "KB160",
    "placeholder",
    M,
    {CHATGPT: ADVICE},
    what=_("A text still holds a placeholder of an example."),
    why=_("It leads nowhere."),
    fix=_("Fill in your own."),
)
def placeholder(subject: Subject) -> Iterator[Found]:
    for key in ("name_for_human", "name_for_model", "contact_email"):
        if PLACEHOLDER.search(text_of(subject, key)):
            yield Found(
                f"/{key}",
                _("%(text)s looks like a placeholder.", text=shown(text_of(subject, key))),
            )
    for pointer, url in addresses(subject):
        if PLACEHOLDER.search(url):
            yield Found(pointer, _("%(text)s looks like a placeholder.", text=shown(url)))


@rule(
    "KB163",
    "logo-type",
    M,
    {CHATGPT: ADVICE},
    what=_("The logo's file does not end like a picture."),
    why=_("Clients show PNG, JPEG and SVG; 512 × 512 pixels are usual."),
    fix=_("Serve a PNG of 512 × 512 pixels."),
)
def logo_type(subject: Subject) -> Iterator[Found]:
    parts = split(text_of(subject, "logo_url").strip())
    if parts:
        suffix = PurePosixPath(parts.path).suffix.lower()
        if suffix in {".html", ".htm", ".pdf", ".txt", ".json", ".md", ".php", ".tif", ".tiff"}:
            yield Found(
                "/logo_url",
                _("A file that ends in %(suffix)s is no picture clients show.", suffix=suffix),
            )
