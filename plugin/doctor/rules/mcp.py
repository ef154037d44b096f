"""Operations as tools of a server of the Model Context Protocol.

Source: https://modelcontextprotocol.io/specification, Server features, Tools.
"""

from collections.abc import Iterator

from plugin.doctor.almost_json import shown
from plugin.doctor.registry import Found, rule
from plugin.doctor.rules.levels import MCP, WARNING
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
