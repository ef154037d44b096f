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

M, O = Document.MANIFEST, Document.OPENAPI  # noqa: E741 - the two documents
TYPES = ("none", "service_http", "user_http", "oauth")
KINDS = ("bearer", "basic")
SCHEMES = ("http", "apiKey", "oauth2", "openIdConnect", "mutualTLS")
OAUTH_TYPES = ("application/json", "application/x-www-form-urlencoded")


@rule("KB152", "auth-type", M, {CHATGPT: ERROR})
def auth_type(subject: Subject) -> Iterator[Found]:
    """`auth.type` is missing or unknown.

    Why: ChatGPT does not know how to call the API, and refuses the manifest.

    Fix: Write "none", "service_http", "user_http" or "oauth".
    """
    auth = subject.fields.get("auth")
    if isinstance(auth, dict) and auth.get("type") not in TYPES:
        if "type" not in auth:
            yield Found("/auth", "auth has no type.")
        else:
            yield Found("/auth/type", f"auth.type is {shown(repr(auth['type']))}.")


@rule("KB153", "auth-authorization-type", M, {CHATGPT: ERROR})
def authorization_type(subject: Subject) -> Iterator[Found]:
    """`auth.authorization_type` is missing or unknown where a key is asked for.

    Why: The client does not know how to send the key.

    Fix: Write "bearer" or "basic".
    """
    if subject.auth.get("type") not in ("service_http", "user_http"):
        return
    kind = subject.auth.get("authorization_type")
    if kind is None:
        yield Found("/auth", "auth has no authorization_type.")
    elif kind not in KINDS:
        same = isinstance(kind, str) and kind.lower() in KINDS
        if same:
            yield Found(
                "/auth/authorization_type",
                f"authorization_type is {shown(repr(kind))}.",
                value=kind.lower(),
            )
        else:
            yield Found("/auth/authorization_type", f"authorization_type is {shown(repr(kind))}.")


@rule("KB154", "auth-verification-tokens", M, {CHATGPT: WARNING})
def verification_tokens(subject: Subject) -> Iterator[Found]:
    """`auth.verification_tokens` is missing or no object where a store asks for it.

    Why: A store puts its token there to see that the API is yours.

    Fix: Write "verification_tokens": {} until you have one.
    """
    if subject.auth.get("type") not in ("service_http", "oauth"):
        return
    found = subject.auth.get("verification_tokens")
    if "verification_tokens" not in subject.auth:
        yield Found("/auth", "auth has no verification_tokens.")
    elif not isinstance(found, dict):
        yield Found(
            "/auth/verification_tokens",
            f"verification_tokens is {kind_of(found)}; it should be an object.",
        )


@rule("KB155", "auth-oauth-fields", M, {CHATGPT: ERROR})
def oauth_fields(subject: Subject) -> Iterator[Found]:
    """An address or setting that OAuth needs is missing or wrong.

    Why: Without `client_url` people cannot log in; without `authorization_url` the client gets
    no token.

    Fix: Give client_url, authorization_url, scope and authorization_content_type.
    """
    if subject.auth.get("type") != "oauth":
        return
    for key in ("client_url", "authorization_url"):
        found = subject.auth.get(key)
        if key not in subject.auth:
            yield Found("/auth", f"auth has no {key}.")
        elif not (isinstance(found, str) and is_absolute(found)):
            yield Found(f"/auth/{key}", f"{key} is no address: {shown(str(found))!r}")
    if "scope" not in subject.auth:
        yield Found("/auth", "auth has no scope.", {CHATGPT: WARNING}, fix='Write "scope": "".')
    kind = subject.auth.get("authorization_content_type")
    if kind not in OAUTH_TYPES:
        yield Found(
            "/auth/authorization_content_type" if kind is not None else "/auth",
            f"authorization_content_type is {shown(repr(kind))}.",
            {CHATGPT: WARNING},
            fix=f"Write {' or '.join(OAUTH_TYPES)}.",
        )


@rule("KB157", "auth-unused", M, {CHATGPT: ADVICE})
def auth_unused(subject: Subject) -> Iterator[Found]:
    """`auth` of type none has fields of another type.

    Why: They mean nothing there; perhaps a key was to be asked for.

    Fix: Delete them, or name the type that they belong to.
    """
    if subject.auth.get("type") == "none":
        for key in subject.auth:
            if key != "type":
                yield Found(f"/auth/{escaped(key)}", f"auth none does not use {shown(key)}.")


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


@rule("KB227", "security-undefined", O, {GPT_ACTIONS: WARNING, CHATGPT: ADVICE, MCP: WARNING})
def security_undefined(subject: Subject) -> Iterator[Found]:
    """`security` names a scheme that `components.securitySchemes` does not define.

    Why: A client cannot know how to authenticate, and calls without a key.

    Fix: Define the scheme, or correct its name.
    """
    defined = schemes(subject)
    for pointer, name in requirements(subject):
        if name not in defined:
            yield Found(pointer, f"There is no security scheme called {shown(name)}.")


@rule("KB226", "security-mismatch", O, {CHATGPT: WARNING})
def security_mismatch(subject: Subject) -> Iterator[Found]:
    """The OpenAPI document asks for another kind of key than the manifest's `auth`.

    Why: A client that goes by the manifest calls without the key that the API wants.

    Fix: Let both say the same.
    """
    kind = subject.auth.get("type")
    name = subject.auth.get("authorization_type")
    is_known = kind in ("none", "oauth") or (kind in TYPES and name in KINDS)
    if not is_known or not subject.spec:
        return
    used = {name for _, name in requirements(subject)}
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
            f"The document asks for {asked}; the manifest says {said}.",
        )


@rule("KB228", "security-unknown-type", O, callers(WARNING))
def security_unknown_type(subject: Subject) -> Iterator[Found]:
    """A security scheme has a type that OpenAPI does not know.

    Why: No client knows how to send such a key.

    Fix: Use http with scheme bearer or basic, apiKey, oauth2 or openIdConnect.
    """
    for name, value in schemes(subject).items():
        if not isinstance(value, dict) or "$ref" in value:
            continue
        if value.get("type") not in SCHEMES:
            yield Found(
                f"/components/securitySchemes/{escaped(name)}",
                f"Its type is {shown(repr(value.get('type')))}.",
            )


@rule("KB309", "nextchat-key-header", O, {NEXTCHAT: ERROR})
def key_header(subject: Subject) -> Iterator[Found]:
    """A key is sent in a header whose name contains `x-` or `sec-`.

    Why: NextChat's proxy drops such headers: the key never arrives.

    Fix: Take the key as Authorization: Bearer.
    """
    used = {name for _, name in requirements(subject)}
    for name, value in schemes(subject).items():
        if name in used and isinstance(value, dict) and value.get("type") == "apiKey":
            header = str(value.get("name", ""))
            if value.get("in") == "header" and any(
                part in header.lower() for part in ("x-", "sec-")
            ):
                yield Found(
                    f"/components/securitySchemes/{escaped(name)}/name",
                    f"The header {shown(header)} does not pass NextChat.",
                )


@rule("KB405", "gpt-actions-auth", O, {GPT_ACTIONS: WARNING})
def several_schemes(subject: Subject) -> Iterator[Found]:
    """Operations ask for different kinds of keys.

    Why: An action has one kind of authentication, beside operations that need none.

    Fix: Ask for the same scheme everywhere.
    """
    used = {name for _, name in requirements(subject) if name in schemes(subject)}
    if len(used) > 1:
        yield Found(
            "/components/securitySchemes",
            f"Several schemes are in use: {shown(', '.join(sorted(used)))}.",
        )
