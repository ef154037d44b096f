"""How the plugin is called: `auth` of the manifest and the security of the OpenAPI document."""

from collections.abc import Iterator
from typing import Any

from plugin.doctor.almost_json import escaped, shown
from plugin.doctor.registry import Found, rule
from plugin.doctor.rules.levels import (
    ADVICE,
    CHATGPT,
    ERROR,
    GPT_ACTIONS,
    MCP,
    NEXTCHAT,
    WARNING,
    callers,
)
from plugin.doctor.rules.manifest import kind_of
from plugin.doctor.subject import Subject, is_absolute
from plugin.doctor.types import Document
from retrieval.sentences import Sentence as _

M, O = Document.MANIFEST, Document.OPENAPI  # noqa: E741 - the two documents
TYPES = ("none", "service_http", "user_http", "oauth")
KINDS = ("bearer", "basic")
SCHEMES = ("http", "apiKey", "oauth2", "openIdConnect", "mutualTLS")
OAUTH_TYPES = ("application/json", "application/x-www-form-urlencoded")


@rule(
    "KB152",
    "auth-type",
    M,
    {CHATGPT: ERROR},
    what=_("`auth.type` is missing or unknown."),
    why=_("ChatGPT does not know how to call the API, and refuses the manifest."),
    fix=_('Write "none", "service_http", "user_http" or "oauth".'),
)
def auth_type(subject: Subject) -> Iterator[Found]:
    auth = subject.fields.get("auth")
    if isinstance(auth, dict) and auth.get("type") not in TYPES:
        if "type" not in auth:
            yield Found("/auth", _("auth has no type."))
        else:
            yield Found("/auth/type", _("auth.type is %(type)s.", type=shown(repr(auth["type"]))))


@rule(
    "KB153",
    "auth-authorization-type",
    M,
    {CHATGPT: ERROR},
    what=_("`auth.authorization_type` is missing or unknown where a key is asked for."),
    why=_("The client does not know how to send the key."),
    fix=_('Write "bearer" or "basic".'),
)
def authorization_type(subject: Subject) -> Iterator[Found]:
    if subject.auth.get("type") not in ("service_http", "user_http"):
        return
    kind = subject.auth.get("authorization_type")
    if kind is None:
        yield Found("/auth", _("auth has no authorization_type."))
    elif kind not in KINDS:
        same = isinstance(kind, str) and kind.lower() in KINDS
        if same:
            yield Found(
                "/auth/authorization_type",
                _("authorization_type is %(kind)s.", kind=shown(repr(kind))),
                value=kind.lower(),
            )
        else:
            yield Found(
                "/auth/authorization_type",
                _("authorization_type is %(kind)s.", kind=shown(repr(kind))),
            )


@rule(
    "KB154",
    "auth-verification-tokens",
    M,
    {CHATGPT: WARNING},
    what=_("`auth.verification_tokens` is missing or no object where a store asks for it."),
    why=_("A store puts its token there to see that the API is yours."),
    fix=_('Write "verification_tokens": {} until you have one.'),
)
def verification_tokens(subject: Subject) -> Iterator[Found]:
    if subject.auth.get("type") not in ("service_http", "oauth"):
        return
    found = subject.auth.get("verification_tokens")
    if "verification_tokens" not in subject.auth:
        yield Found("/auth", _("auth has no verification_tokens."))
    elif not isinstance(found, dict):
        yield Found(
            "/auth/verification_tokens",
            _("verification_tokens is %(kind)s; it should be an object.", kind=kind_of(found)),
        )


@rule(
    "KB155",
    "auth-oauth-fields",
    M,
    {CHATGPT: ERROR},
    what=_("An address or setting that OAuth needs is missing or wrong."),
    why=_(
        "Without `client_url` people cannot log in; without `authorization_url` the client gets no "
        "token."
    ),
    fix=_("Give client_url, authorization_url, scope and authorization_content_type."),
)
def oauth_fields(subject: Subject) -> Iterator[Found]:
    if subject.auth.get("type") != "oauth":
        return
    for key in ("client_url", "authorization_url"):
        found = subject.auth.get(key)
        if key not in subject.auth:
            yield Found("/auth", _("auth has no %(field)s.", field=key))
        elif not (isinstance(found, str) and is_absolute(found)):
            yield Found(
                f"/auth/{key}",
                _("%(field)s is no address: %(text)s", field=key, text=repr(shown(str(found)))),
            )
    if "scope" not in subject.auth:
        yield Found(
            "/auth", _("auth has no scope."), {CHATGPT: WARNING}, fix=_('Write "scope": "".')
        )
    kind = subject.auth.get("authorization_content_type")
    if kind not in OAUTH_TYPES:
        yield Found(
            "/auth/authorization_content_type" if kind is not None else "/auth",
            _("authorization_content_type is %(kind)s.", kind=shown(repr(kind))),
            {CHATGPT: WARNING},
            fix=_("Write %(first)s or %(second)s.", first=OAUTH_TYPES[0], second=OAUTH_TYPES[1]),
        )


@rule(
    "KB157",
    "auth-unused",
    M,
    {CHATGPT: ADVICE},
    what=_("`auth` of type none has fields of another type."),
    why=_("They mean nothing there; perhaps a key was to be asked for."),
    fix=_("Delete them, or name the type that they belong to."),
)
def auth_unused(subject: Subject) -> Iterator[Found]:
    if subject.auth.get("type") == "none":
        for key in subject.auth:
            if key != "type":
                yield Found(
                    f"/auth/{escaped(key)}",
                    _("auth none does not use %(field)s.", field=shown(key)),
                )


# --- The OpenAPI document --------------------------------------------------------------------


def schemes(subject: Subject) -> dict[str, Any]:
    components = subject.spec.get("components")
    found = components.get("securitySchemes") if isinstance(components, dict) else None
    return found if isinstance(found, dict) else {}


def requirements(subject: Subject) -> Iterator[tuple[str, str]]:
    """(pointer, name of a scheme) of every use."""
    holders = [("", subject.spec), *((op.pointer, op.value) for op in subject.operations)]
    for base, holder in holders:
        listed = holder.get("security")
        for number, entry in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(entry, dict):
                for name in entry:
                    yield f"{base}/security/{number}", str(name)


@rule(
    "KB227",
    "security-undefined",
    O,
    {GPT_ACTIONS: WARNING, CHATGPT: ADVICE, MCP: WARNING},
    what=_("`security` names a scheme that `components.securitySchemes` does not define."),
    why=_("A client cannot know how to authenticate, and calls without a key."),
    fix=_("Define the scheme, or correct its name."),
)
def security_undefined(subject: Subject) -> Iterator[Found]:
    defined = schemes(subject)
    for pointer, name in requirements(subject):
        if name not in defined:
            yield Found(
                pointer, _("There is no security scheme called %(name)s.", name=shown(name))
            )


@rule(
    "KB226",
    "security-mismatch",
    O,
    {CHATGPT: WARNING},
    what=_("The OpenAPI document asks for another kind of key than the manifest's `auth`."),
    why=_("A client that goes by the manifest calls without the key that the API wants."),
    fix=_("Let both say the same."),
)
def security_mismatch(subject: Subject) -> Iterator[Found]:
    kind = subject.auth.get("type")
    name = subject.auth.get("authorization_type")
    is_known = kind in ("none", "oauth") or (kind in TYPES and name in KINDS)
    if not is_known or not subject.spec:
        return
    used = {name for _pointer, name in requirements(subject)}
    found = [
        value
        for name, value in schemes(subject).items()
        if name in used and isinstance(value, dict)
    ]
    kinds = {(str(value.get("type")), str(value.get("scheme", "")).lower()) for value in found}
    if not kinds:
        return
    if kind == "oauth":
        fits = any(one in ("oauth2", "openIdConnect") or way == "bearer" for one, way in kinds)
    else:
        fits = kind != "none" and any(
            (one == "http" and way == name)
            or one == "apiKey"
            or (one in ("oauth2", "openIdConnect") and name == "bearer")
            for one, way in kinds
        )
    if not fits:
        asked = ", ".join(sorted(" ".join(filter(None, map(str, pair))) for pair in kinds))
        said = f"{kind} {name or ''}".strip()
        yield Found(
            "/components/securitySchemes",
            _(
                "The document asks for %(asked)s; the manifest says %(said)s.",
                asked=asked,
                said=said,
            ),
        )


@rule(
    "KB228",
    "security-unknown-type",
    O,
    callers(WARNING),
    what=_("A security scheme has a type that OpenAPI does not know."),
    why=_("No client knows how to send such a key."),
    fix=_("Use http with scheme bearer or basic, apiKey, oauth2 or openIdConnect."),
)
def security_unknown_type(subject: Subject) -> Iterator[Found]:
    for name, value in schemes(subject).items():
        if not isinstance(value, dict) or "$ref" in value:
            continue
        if value.get("type") not in SCHEMES:
            yield Found(
                f"/components/securitySchemes/{escaped(name)}",
                _("Its type is %(type)s.", type=shown(repr(value.get("type")))),
            )


@rule(
    "KB309",
    "nextchat-key-header",
    O,
    {NEXTCHAT: ERROR},
    what=_("A key is sent in a header whose name contains `x-` or `sec-`."),
    why=_("NextChat's proxy drops such headers: the key never arrives."),
    fix=_("Take the key as Authorization: Bearer."),
)
def key_header(subject: Subject) -> Iterator[Found]:
    used = {name for _pointer, name in requirements(subject)}
    for name, value in schemes(subject).items():
        if name in used and isinstance(value, dict) and value.get("type") == "apiKey":
            header = str(value.get("name", ""))
            if value.get("in") == "header" and any(
                part in header.lower() for part in ("x-", "sec-")
            ):
                yield Found(
                    f"/components/securitySchemes/{escaped(name)}/name",
                    _("The header %(header)s does not pass NextChat.", header=shown(header)),
                )


@rule(
    "KB405",
    "gpt-actions-auth",
    O,
    {GPT_ACTIONS: WARNING},
    what=_("Operations ask for different kinds of keys."),
    why=_("An action has one kind of authentication, beside operations that need none."),
    fix=_("Ask for the same scheme everywhere."),
)
def several_schemes(subject: Subject) -> Iterator[Found]:
    used = {name for _pointer, name in requirements(subject) if name in schemes(subject)}
    if len(used) > 1:
        yield Found(
            "/components/securitySchemes",
            _("Several schemes are in use: %(names)s.", names=shown(", ".join(sorted(used)))),
        )
