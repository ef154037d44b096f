"""Documents with one fault each: it is reported under its own rule, and nothing else is.

The good documents are our own. A fault is a change of their values or of their text.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from plugin.doctor import Document, Severity, examine
from plugin.identity import DESCRIPTION_FOR_HUMAN
from tests.plugin.doctor.conftest import ADDRESS

Documents = dict[Document, Any]
M, O = Document.MANIFEST, Document.OPENAPI  # noqa: E741 - the two documents
SEARCH = "/paths/~1search/post"
BODY = f"{SEARCH}/requestBody/content/application~1json/schema"


@dataclass(frozen=True)
class Fault:
    rule: str
    name: str
    document: Document
    pointer: str  #: where it is to be reported
    change: Callable[[Any], Any]  #: of the value, or of the text if `is_text`
    is_text: bool = False
    also: frozenset[str] = frozenset()  #: warnings that cannot but come with it

    def __str__(self) -> str:
        return f"{self.rule}-{self.name}"


def walk(value: Any, pointer: str) -> tuple[Any, str]:
    """The holder of what a pointer names, and the key in it."""
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for key in path:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value, last


def put(pointer: str, new: Any) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        holder, key = walk(value, pointer)
        if isinstance(holder, list):
            holder[int(key)] = new
        else:
            holder[key] = new

    return change


def drop(pointer: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        holder, key = walk(value, pointer)
        del holder[key]

    return change


def rename(pointer: str, new: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        holder, key = walk(value, pointer)
        holder[new] = holder.pop(key)

    return change


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text, old
        return text.replace(old, new, 1)

    return change


def field(rule: str, name: str, pointer: str, new: Any, **more: Any) -> Fault:
    return Fault(rule, name, M, pointer, put(pointer, new), **more)


def spec(rule: str, name: str, pointer: str, change: Callable[[Any], Any], **more: Any) -> Fault:
    return Fault(rule, name, O, pointer, change, **more)


def text(rule: str, name: str, change: Callable[[str], str], **more: Any) -> Fault:
    return Fault(rule, name, more.pop("document", M), "", change, is_text=True, **more)


def both(*changes: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for one in changes:
            one(value)

    return change


NAME = '"name_for_model": "knowledge_base"'
OAUTH = {
    "type": "oauth",
    "client_url": f"{ADDRESS}/login",
    "scope": "",
    "authorization_url": f"{ADDRESS}/token",
    "authorization_content_type": "application/json",
    "verification_tokens": {},
}


def oauth(**changes: Any) -> dict[str, Any]:
    merged = {**OAUTH, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def parameter(name: str = "lang", where: str = "query", **more: Any) -> dict[str, Any]:
    return {
        "name": name, "in": where, "description": "A language.", "schema": {"type": "string"},
        **more,
    }  # fmt: skip


def circle(value: Any) -> None:
    value["components"]["schemas"] = {
        "Filter": {
            "type": "object",
            "description": "A filter.",
            "properties": {"not": {"$ref": "#/components/schemas/Filter"}},
        }
    }
    put(f"{BODY}/properties/filter", {"$ref": "#/components/schemas/Filter"})(value)


def chain(value: Any) -> None:
    """Schemas of which each names the next one twice: 2 to the power of 20 in the end."""
    named = {
        f"S{n}": {
            "type": "object",
            "properties": {
                side: {"$ref": f"#/components/schemas/S{n + 1}", "description": "x"}
                for side in ("a", "b")
            },
        }
        for n in range(20)
    }
    named["S20"] = {"type": "object", "properties": {}}
    value["components"]["schemas"] = named
    put(f"{BODY}/properties/filter", {"$ref": "#/components/schemas/S0"})(value)


def more_operations(count: int) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for number in range(count):
            operation = copy.deepcopy(value["paths"]["/feedback"]["post"])
            operation["operationId"] = f"feedback{number}"
            value["paths"][f"/feedback{number}"] = {"post": operation}

    return change


def path_item(path: str, method: str = "post") -> Callable[[Any], None]:
    """Move the operation of /feedback to another path."""

    def change(value: Any) -> None:
        item = value["paths"].pop("/feedback")
        value["paths"][path] = {method: item["post"]}

    return change


def scheme(**value: Any) -> Callable[[Any], None]:
    return put("/components/securitySchemes/bearer", value)


FAULTS = [
    # --- The text of the manifest ------------------------------------------------------------
    text("KB102", "no-value", swap(NAME, '"name_for_model": ')),
    text("KB102", "wrong-bracket", swap('"verification_tokens": {}', '"verification_tokens": {]')),
    text("KB103", "at-the-end", lambda t: t.rstrip()[:-1].rstrip() + ",\n}\n"),
    text("KB103", "doubled", swap(NAME + ",", NAME + ",,")),
    text("KB104", "line", swap("{\n", "{\n  // who we are\n")),
    text("KB104", "block", swap("{\n", "/* who we are */ {\n")),
    text("KB104", "hash", swap("{\n", "{\n  # who we are\n")),
    text("KB105", "bom", lambda t: "\ufeff" + t),
    text("KB106", "name", swap('"name_for_model"', "'name_for_model'")),
    text("KB106", "value", swap('"knowledge_base"', "'knowledge_base'")),
    text("KB107", "name", swap('"name_for_model"', "name_for_model")),
    text("KB107", "value", swap('"knowledge_base"', "knowledge_base")),
    text("KB108", "between-fields", swap(NAME + ",", NAME)),
    text("KB109", "line-break", swap("Knowledge base", "Knowledge\nbase")),
    text("KB109", "tab", swap("Knowledge base", "Knowledge\tbase")),
    text("KB109", "no-break-space", swap("{\n", "{\u00a0\n")),
    text("KB110", "same-name", swap(NAME, f"{NAME},\n  {NAME}")),
    text("KB111", "python", swap('tokens": {}', 'tokens": {"a": None}')),
    text("KB111", "javascript", swap('"openapi"', '"openapi", "is_dev": undefined')),
    text("KB112", "curly", swap('"knowledge_base"', "“knowledge_base”")),
    text("KB113", "no-closing-quote", swap('"knowledge_base",', '"knowledge_base,')),
    text("KB114", "cut-off", lambda t: t.rstrip()[:-1]),
    text("KB115", "equals", swap('"name_for_model":', '"name_for_model" =')),
    text("KB115", "none", swap('"name_for_model":', '"name_for_model"')),
    text("KB116", "fence", lambda t: f"```json\n{t}```\n"),
    text("KB116", "assignment", lambda t: f"module = {t}"),
    text("KB116", "second-document", lambda t: t + "{}"),
    text("KB117", "escape", swap("Knowledge base", "Knowledge \\& base")),
    text("KB120", "nothing", lambda t: " \n"),
    text("KB121", "html", lambda t: "<!doctype html><title>Not found</title>"),
    text("KB124", "yaml", lambda t: yaml.safe_dump(json.loads(t))),
    text("KB126", "list", lambda t: f"[{t}]"),
    # --- The fields of the manifest ----------------------------------------------------------
    *(
        Fault("KB130", key, M, "", drop(f"/{key}"))
        for key in (
            "schema_version", "name_for_model", "name_for_human", "description_for_model",
            "description_for_human", "auth", "api", "logo_url", "contact_email",
            "legal_info_url",
        )
    ),
    field("KB131", "number", "/name_for_human", 7),
    field("KB131", "list", "/description_for_model", ["Search."]),
    field("KB131", "auth-text", "/auth", "none"),
    field("KB131", "api-list", "/api", [f"{ADDRESS}/openapi.yaml"]),
    field("KB131", "null", "/logo_url", None),
    field("KB132", "name", "/name_for_model", ""),
    field("KB132", "description", "/description_for_human", " "),
    field("KB132", "contact", "/contact_email", ""),
    field("KB133", "unknown", "/colour", "red"),
    Fault("KB134", "case", M, "/Logo_URL", rename("/logo_url", "Logo_URL")),
    Fault("KB134", "camel", M, "/nameForModel", rename("/name_for_model", "nameForModel")),
    Fault("KB134", "letters", M, "/legal_info_ulr", rename("/legal_info_url", "legal_info_ulr")),
    field("KB135", "v2", "/schema_version", "v2"),
    field("KB136", "space", "/name_for_model", "knowledge base"),
    field("KB136", "letters", "/name_for_model", "知识库"),
    field("KB136", "hyphen", "/name_for_model", "knowledge-base"),
    field("KB137", "long", "/name_for_model", "k" * 51),
    field("KB138", "long", "/name_for_human", "A knowledge base for everybody"),
    field("KB139", "long", "/description_for_model", "Search. " * 1001),
    field("KB140", "long", "/description_for_human", "Answers. " * 20),
    field("KB161", "alike", "/description_for_model", DESCRIPTION_FOR_HUMAN),
    field("KB162", "space", "/name_for_human", "Knowledge base "),
    field("KB164", "secret", "/api_key", "s3cr3t", also=frozenset({"KB133"})),
    # --- Its addresses -----------------------------------------------------------------------
    field("KB101", "capitals", "/logo_url", f"{ADDRESS}/logo.PNG"),
    Fault("KB141", "none", M, "/api", drop("/api/type")),
    field("KB141", "other", "/api/type", "swagger"),
    Fault("KB142", "none", M, "/api", drop("/api/url")),
    field("KB142", "number", "/api/url", 8001),
    field("KB143", "relative", "/api/url", "/openapi.yaml"),
    field("KB144", "no-scheme", "/api/url", "kb.acme-notes.com/openapi.yaml"),
    field("KB144", "logo", "/logo_url", "data:image/png;base64,iVBORw0KGgo="),
    field("KB145", "api", "/api/url", "http://kb.acme-notes.com/openapi.yaml"),
    field("KB145", "logo", "/logo_url", "http://kb.acme-notes.com/logo.png"),
    field("KB146", "localhost", "/api/url", "http://localhost:8001/openapi.yaml"),
    field("KB146", "network", "/logo_url", "http://192.168.1.7/logo.png"),
    field("KB147", "two-ats", "/contact_email", "help@kb@acme-notes.com"),
    field("KB147", "a-page", "/contact_email", f"{ADDRESS}/contact"),
    field("KB149", "other-domain", "/contact_email", "acme.notes@mail-service.com"),
    field("KB150", "other-domain", "/legal_info_url", "https://lawyers-of-acme.com/legal"),
    field("KB158", "space", "/logo_url", f"{ADDRESS}/our logo.png"),
    field("KB158", "port", "/api/url", "https://kb.acme-notes.com:99999/openapi.yaml"),
    field("KB159", "password", "/logo_url", "https://me:secret@kb.acme-notes.com/logo.png"),
    field("KB160", "example", "/legal_info_url", "https://example.com/legal"),
    field("KB163", "page", "/logo_url", f"{ADDRESS}/logo.html"),
    # --- Its auth ----------------------------------------------------------------------------
    field("KB152", "unknown", "/auth/type", "api_key"),
    Fault("KB152", "none", M, "/auth", put("/auth", {})),
    Fault("KB153", "none", M, "/auth", drop("/auth/authorization_type")),
    field("KB151", "other-domain", "/api/url", "https://somebody-else.com/openapi.yaml",
          also=frozenset()),
    field("KB153", "unknown", "/auth/authorization_type", "token"),
    Fault("KB154", "none", M, "/auth", drop("/auth/verification_tokens")),
    field("KB154", "list", "/auth/verification_tokens", []),
    Fault("KB155", "client-url", M, "/auth", put("/auth", oauth(client_url=None))),
    Fault("KB155", "scope", M, "/auth", put("/auth", oauth(scope=None))),
    Fault("KB155", "address", M, "/auth/authorization_url",
          put("/auth", oauth(authorization_url="/token"))),
    Fault("KB155", "content-type", M, "/auth/authorization_content_type",
          put("/auth", oauth(authorization_content_type="text/plain"))),
    # --- The text of the OpenAPI document ----------------------------------------------------
    text("KB123", "indent", lambda t: "openapi: 3.0.3\n  info: {}\n", document=O),
    text("KB123", "tab", lambda t: "openapi: 3.0.3\ninfo:\n\ttitle: x\n", document=O),
    text("KB122", "trailing-comma", lambda t: t.rstrip()[:-1].rstrip() + ",\n}\n", document=O),
    text("KB122", "single-quotes", swap('"/search"', "'/search'"), document=O),
    text("KB121", "openapi-html", lambda t: "<html><body>Log in</body></html>", document=O),
    text("KB120", "openapi-nothing", lambda t: "", document=O),
    text("KB202", "manifest", lambda t: '{"schema_version": "v1", "name_for_model": "x"}',
         document=O),
    text("KB125", "same-name", lambda t: swap("  /feedback:\n", "  /feedback: {}\n  /feedback:\n")(
        yaml.safe_dump(json.loads(t))), document=O),
    # --- The OpenAPI document ----------------------------------------------------------------
    spec("KB203", "swagger", "/swagger", both(drop("/openapi"), put("/swagger", "2.0"))),
    spec("KB203", "none", "", drop("/openapi")),
    spec("KB203", "number", "/openapi", put("/openapi", 3.1)),
    spec("KB204", "field", f"{SEARCH}", put(f"{SEARCH}/descripton", "Find.")),
    spec("KB204", "version", "/info", drop("/info/version")),
    spec("KB301", "no-info", "", drop("/info"), also=frozenset({"KB204"})),
    spec("KB204", "type-in-answer",
         f"{SEARCH}/responses/200/content/application~1json/schema/properties/degraded/type",
         put(f"{SEARCH}/responses/200/content/application~1json/schema/properties/degraded/type",
             "flag")),
    spec("KB206", "answer", f"{SEARCH}/responses/4XX/content/application~1json/schema/$ref",
         both(put("/components/schemas", {}),
              put(f"{SEARCH}/responses/4XX/content/application~1json/schema",
                  {"$ref": "#/components/schemas/Error"}))),
    spec("KB306", "body", BODY,
         both(put("/components/schemas", {}), put(BODY, {"$ref": "#/components/schemas/Search"})),
         also=frozenset({"KB206"})),
    spec("KB301", "reference", f"{SEARCH}/responses/4XX/content/application~1json/schema",
         put(f"{SEARCH}/responses/4XX/content/application~1json/schema",
             {"$ref": "#/definitions/Error"}), also=frozenset({"KB206"})),
    spec("KB208", "other-file", f"{SEARCH}/responses/4XX/content/application~1json/schema/$ref",
         put(f"{SEARCH}/responses/4XX/content/application~1json/schema",
             {"$ref": "errors.yaml#/components"})),
    spec("KB207", "circle", BODY, circle),
    spec("KB209", "none", SEARCH, drop(f"{SEARCH}/operationId")),
    spec("KB209", "braces", "/paths/~1search~1{lang}/post",
         both(drop(f"{SEARCH}/operationId"), rename("/paths/~1search", "/search/{lang}"),
              put("/paths/~1search~1{lang}/post/parameters",
                  [parameter(where="path", required=True)]))),
    spec("KB210", "twice", "/paths/~1feedback/post/operationId",
         put("/paths/~1feedback/post/operationId", "search")),
    spec("KB211", "spaces", f"{SEARCH}/operationId", put(f"{SEARCH}/operationId", "search it")),
    spec("KB212", "long", f"{SEARCH}/operationId", put(f"{SEARCH}/operationId", "s" * 65)),
    spec("KB213", "undescribed", SEARCH,
         both(drop(f"{SEARCH}/description"), drop(f"{SEARCH}/summary"))),
    spec("KB214", "no-paths", "/paths", put("/paths", {})),
    spec("KB215", "undeclared", "/paths/~1search~1{lang}/post",
         rename("/paths/~1search", "/search/{lang}")),
    spec("KB235", "unused", f"{SEARCH}/parameters/0",
         put(f"{SEARCH}/parameters", [parameter(where="path", required=True)])),
    spec("KB216", "no-schema", f"{SEARCH}/parameters/0",
         put(f"{SEARCH}/parameters", [{"name": "lang", "in": "query", "description": "x",
             "content": {"text/plain": {}}}])),
    spec("KB217", "undescribed", f"{SEARCH}/parameters/0",
         put(f"{SEARCH}/parameters", [{"name": "lang", "in": "query",
                                       "schema": {"type": "string"}}])),
    spec("KB218", "form", f"{SEARCH}/requestBody/content",
         rename(f"{SEARCH}/requestBody/content/application~1json",
                "application/x-www-form-urlencoded")),
    spec("KB219", "no-content", f"{SEARCH}/requestBody",
         drop(f"{SEARCH}/requestBody/content"), also=frozenset({"KB204"})),
    spec("KB219", "no-schema", f"{SEARCH}/requestBody/content/application~1json", drop(BODY)),
    spec("KB220", "none", "", drop("/servers")),
    spec("KB220", "empty", "/servers", put("/servers", [])),
    spec("KB221", "relative", "/servers/0/url", put("/servers/0/url", "/api")),
    spec("KB222", "slash", "/servers/0/url", put("/servers/0/url", f"{ADDRESS}/")),
    spec("KB223", "http", "/servers/0/url", put("/servers/0/url", "http://kb.acme-notes.com")),
    spec("KB224", "localhost", "/servers/0/url", put("/servers/0/url", "https://localhost:8001")),
    spec("KB225", "variable", "/servers/0/url",
         put("/servers/0", {"url": "https://{host}", "variables":
                            {"host": {"default": "kb.acme-notes.com"}}})),
    spec("KB234", "other-domain", "/servers/0/url",
         put("/servers/0/url", "https://api.somebody-else.com")),
    spec("KB240", "query", "/servers/0/url", put("/servers/0/url", f"{ADDRESS}?v=1")),
    spec("KB227", "undefined", f"{SEARCH}/security/0", put(f"{SEARCH}/security", [{"key": []}])),
    spec("KB228", "unknown", "/components/securitySchemes/bearer",
         scheme(type="bearer"), also=frozenset({"KB204", "KB226"})),
    spec("KB226", "basic", "/components/securitySchemes",
         scheme(type="http", scheme="basic")),
    spec("KB309", "header", "/components/securitySchemes/bearer/name",
         scheme(type="apiKey", name="X-API-Key", **{"in": "header"})),
    spec("KB405", "two", "/components/securitySchemes",
         both(put("/components/securitySchemes/basic", {"type": "http", "scheme": "basic"}),
              put(f"{SEARCH}/security", [{"basic": []}]))),
    spec("KB229", "list", f"{SEARCH}/responses/200/content/application~1json/schema",
         both(put(f"{SEARCH}/responses/200/content/application~1json/schema",
                  {"type": "array", "items": {"type": "string"}}),
              drop(f"{BODY}/properties/top_k"))),
    spec("KB231", "no-slash", "/paths/feedback", path_item("feedback")),
    spec("KB233", "capitals", "/paths/~1feedback/POST", path_item("/feedback", "POST")),
    spec("KB236", "get", "/paths/~1feedback/get/requestBody", path_item("/feedback", "get")),
    spec("KB237", "none", SEARCH, drop(f"{SEARCH}/responses/200")),
    spec("KB238", "header", f"{SEARCH}/parameters/0",
         put(f"{SEARCH}/parameters", [parameter("X-Tenant", "header", required=True)])),
    # --- Single consumers --------------------------------------------------------------------
    spec("KB302", "put", "/paths/~1feedback/put", path_item("/feedback", "put")),
    spec("KB303", "slash", "/paths/~1feedback~1/post", path_item("/feedback/")),
    spec("KB304", "required-true", f"{BODY}/properties/query/required",
         put(f"{BODY}/properties/query/required", True), also=frozenset({"KB204"})),
    spec("KB304", "type", f"{BODY}/properties/top_k/type",
         put(f"{BODY}/properties/top_k/type", "int"), also=frozenset({"KB204"})),
    spec("KB304", "no-items", f"{BODY}/properties/filter",
         put(f"{BODY}/properties/filter", {"type": "array", "description": "Tags."}),
         also=frozenset({"KB204"})),
    spec("KB304", "array-in-query", f"{SEARCH}/parameters/0",
         put(f"{SEARCH}/parameters",
             [parameter(schema={"type": "array", "items": {"type": "string"}})])),
    spec("KB305", "list", f"{SEARCH}/requestBody",
         put(BODY, {"type": "array", "items": {"type": "string"}})),
    spec("KB305", "any-of", f"{SEARCH}/requestBody",
         put(f"{BODY}/anyOf", [{"required": ["query"]}, {"required": ["collection"]}])),
    spec("KB307", "chain", SEARCH, chain),
    spec("KB312", "many", "/paths", more_operations(25)),
    spec("KB403", "too-many", "/paths", more_operations(30)),
    spec("KB401", "long", f"{SEARCH}/description", put(f"{SEARCH}/description", "Find. " * 51)),
    spec("KB402", "long", f"{BODY}/properties/query/description",
         put(f"{BODY}/properties/query/description", "What to find. " * 51)),
    spec("KB404", "bare", f"{BODY}/properties/filter",
         drop(f"{BODY}/properties/filter/properties")),
    spec("KB406", "picture", f"{SEARCH}/responses/200/content",
         put(f"{SEARCH}/responses/200/content", {"image/png": {}})),
    field("KB501", "text", "/api/has_user_authentication", "sometimes"),
    spec("KB502", "long", "", put("/info/description", "Long. " * 6000)),
    spec("KB601", "collide", f"{SEARCH}/parameters/0",
         put(f"{SEARCH}/parameters", [parameter("query")])),
]  # fmt: skip


def documents(fault: Fault | None, manifest: Any, openapi: Any) -> tuple[str, str]:
    values = {M: manifest, O: openapi}
    if fault is not None and not fault.is_text:
        fault.change(values[fault.document])
    texts = {
        name: json.dumps(value, ensure_ascii=False, indent=2) + "\n"
        for name, value in values.items()
    }
    if fault is not None and fault.is_text:
        texts[fault.document] = fault.change(texts[fault.document])
    return texts[M], texts[O]


def judged(manifest: str, openapi: str):
    return examine(
        manifest,
        openapi=openapi,
        address=f"{ADDRESS}/.well-known/ai-plugin.json",
        expect=M,
    )


def test_the_good_documents_have_no_finding_at_all(good_manifest, good_openapi):
    assert judged(*documents(None, good_manifest, good_openapi)).findings == ()


def test_there_are_faults_enough_and_each_is_one_of_its_own():
    assert len(FAULTS) >= 80
    assert len({str(fault) for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_one_fault_is_reported_and_no_other(fault, good_manifest, good_openapi):
    report = judged(*documents(fault, good_manifest, good_openapi))
    own = [found for found in report.findings if found.rule == fault.rule]
    assert own, [(found.rule, found.pointer, found.message) for found in report.findings]
    assert own[0].document is fault.document
    if not fault.is_text:
        assert own[0].pointer == fault.pointer
    assert own[0].line >= 1
    assert own[0].column >= 1
    others = [found for found in report.findings if found.rule != fault.rule]
    assert [found for found in others if found.severity is Severity.ERROR] == []
    beside = {found.rule for found in others if found.severity > Severity.ADVICE}
    assert beside <= fault.also


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.is_text and fault.rule < "KB118"], ids=str
)
def test_almost_json_is_mended(fault, good_manifest, good_openapi):
    good = copy.deepcopy(good_manifest)
    report = judged(*documents(fault, good_manifest, good_openapi))
    mended = report.mended.get(M)
    if fault.rule in {"KB102", "KB110"}:
        return  # what was meant cannot be guessed
    value = json.loads(mended)
    if fault.rule in {"KB111", "KB117", "KB109"}:
        value = {key: value[key] for key in good}  # those faults change a value
        assert value.keys() == good.keys()
    else:
        assert value == good


@pytest.mark.parametrize(
    "fault",
    [
        fault
        for fault in FAULTS
        if (fault.rule, fault.name)
        in {
            ("KB135", "v2"), ("KB136", "space"), ("KB141", "other"), ("KB143", "relative"),
            ("KB162", "space"), ("KB203", "number"), ("KB211", "spaces"), ("KB222", "slash"),
            ("KB225", "variable"),
        }
    ],
    ids=str,
)  # fmt: skip
def test_a_value_is_mended_where_that_is_safe(fault, good_manifest, good_openapi):
    texts = dict(zip((M, O), documents(fault, good_manifest, good_openapi), strict=True))
    report = judged(texts[M], texts[O])
    texts[fault.document] = report.mended[fault.document]
    again = judged(texts[M], texts[O])
    assert [found for found in again.findings if found.rule == fault.rule] == []
    assert [found for found in again.findings if found.severity > Severity.ADVICE] == []


def test_auth_none_needs_nothing_else(good_manifest):
    good_manifest["auth"] = {"type": "none", "authorization_type": "bearer"}
    report = examine(json.dumps(good_manifest), expect=M)
    assert [(f.rule, f.pointer) for f in report.findings if f.rule == "KB157"] == [
        ("KB157", "/auth/authorization_type")
    ]


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (lambda text: text.replace("Answers", "Antworten für Größe").encode("latin-1"), "KB118"),
        (lambda text: text.encode("utf-16"), "KB118"),
        (lambda text: text.encode("utf-8-sig"), "KB105"),
        (lambda text: text.encode() + b" " * (2 * 1024 * 1024), "KB119"),
    ],
    ids=["latin-1", "utf-16", "byte-order-mark", "too-large"],
)
def test_bytes_have_faults_of_their_own(data, rule, good_manifest, good_openapi):
    manifest, openapi = documents(None, good_manifest, good_openapi)
    report = examine(data(manifest), openapi=openapi, address=ADDRESS, expect=M)
    assert {found.rule for found in report.findings if found.severity > Severity.ADVICE} == {rule}
