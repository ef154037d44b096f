"""Operations as tools of a server of the Model Context Protocol, and our own server of it.

Source: https://modelcontextprotocol.io/specification, Server features, Tools.
"""

from collections.abc import Iterator

from plugin.doctor.almost_json import shown
from plugin.doctor.registry import Found, describe, rule
from plugin.doctor.rules.levels import ERROR, MCP, WARNING
from plugin.doctor.subject import Subject
from plugin.doctor.types import Document
from retrieval.sentences import Sentence as _

NAME = 128


@rule(
    "KB601",
    "mcp-parameters-collide",
    Document.OPENAPI,
    {MCP: WARNING},
    what=_("A parameter and a field of the body, or two parameters, have the same name."),
    why=_("A tool has one flat object of arguments: one of the two is lost or renamed."),
    fix=_("Give each a name of its own."),
)
def collide(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        schema, _pointer = subject.body_schema(operation)
        followed, _pointer = subject.follow(schema, "")
        fields = followed.get("properties") if isinstance(followed, dict) else None
        names = set(fields) if isinstance(fields, dict) else set()
        for parameter in subject.parameters(operation):
            name = str(parameter.value.get("name"))
            if name in names and parameter.value.get("in") in ("query", "path"):
                yield Found(
                    parameter.pointer,
                    _(
                        "%(operation)s has %(name)s twice.",
                        operation=operation.label,
                        name=shown(name),
                    ),
                )
            names.add(name)


# --- Our own endpoint: plugin.doctor.endpoint asks it -----------------------------------------

describe(
    "KB602",
    "mcp-endpoint",
    Document.OPENAPI,
    {MCP: ERROR},
    what=_("Our own endpoint for MCP clients, POST /mcp, does not answer as one."),
    why=_("No MCP client can connect, although the documents can be read."),
    fix=_(
        "Let the reverse proxy pass on POST /mcp with its headers, without a redirect or a login "
        "of its own."
    ),
)
describe(
    "KB603",
    "mcp-connector-tools",
    Document.OPENAPI,
    {MCP: WARNING},
    what=_("Our own endpoint for MCP clients lacks the tools search or fetch."),
    why=_("ChatGPT's connectors need both, by these names."),
    fix=_("See that this address leads to kbadmin and to nothing else, in this version."),
)
describe(
    "KB604",
    "mcp-headers",
    Document.OPENAPI,
    {MCP: WARNING},
    what=_("Our own endpoint answers older MCP clients only."),
    why=_(
        "Clients of the revision 2026-07-28 say in headers what they ask; without them they are "
        "refused, and some know no older revision."
    ),
    fix=_("Let the reverse proxy pass on MCP-Protocol-Version, Mcp-Method and Mcp-Name."),
)
