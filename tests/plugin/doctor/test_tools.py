"""Odd documents become the tools that NextChat's own code makes of them, or fail as there.

What is expected was seen with NextChat's code on openapi-client-axios 7.9, run by Node.
"""

from typing import Any

import pytest

from plugin.doctor.tools import ImportFails, nextchat_tools

INFO = {"title": "x", "version": "1"}
QUERY = {"name": "p", "in": "query", "required": True, "schema": {"type": "string"}}


def tools(operation, item=None, **more):
    document = {"info": INFO, "paths": {"/x": {**(item or {}), "post": operation}}, **more}
    return [made.tool for made in nextchat_tools(document)]


def body(schema):
    return {"content": {"application/json": {"schema": schema}}}


def test_an_empty_operation_is_a_tool_without_parameters():
    (tool,) = tools({})
    assert tool.name == "POST_x"
    assert tool.parameters == {"type": "object", "properties": {}, "required": []}


def test_an_empty_schema_stays_without_a_type():
    (tool,) = tools({"operationId": "x", "requestBody": body({})})
    assert tool.parameters == {"required": []}


def test_parameters_of_the_path_come_after_those_of_the_operation():
    (tool,) = tools(
        {"operationId": "x", "parameters": [{**QUERY, "name": "q", "description": "d"}]},
        {"parameters": [QUERY]},
    )
    assert tool.parameters == {
        "type": "object",
        "properties": {"q": {"type": "string", "description": "d"}, "p": {"type": "string"}},
        "required": ["q", "p"],
    }


def test_headers_are_not_offered_and_enums_are_lost():
    (tool,) = tools(
        {
            "parameters": [
                {"name": "X-Key", "in": "header", "schema": {"type": "string"}},
                {**QUERY, "schema": {"type": "string", "enum": ["a", "b"]}},
            ]
        }
    )
    assert tool.parameters["properties"] == {"p": {"type": "string"}}


def test_the_description_is_else_the_summary():
    assert tools({"description": "d", "summary": "s"})[0].description == "d"
    assert tools({"description": "", "summary": "s"})[0].description == "s"


def test_bodies_that_operations_share_get_the_parameters_of_both():
    shared = {"B": {"type": "object", "properties": {}}}
    operation = {"requestBody": body({"$ref": "#/components/schemas/B"})}
    document = {
        "info": INFO,
        "paths": {"/a": {"post": {**operation, "parameters": [QUERY]}}, "/b": {"post": operation}},
        "components": {"schemas": shared},
    }
    first, second = (made.tool.parameters for made in nextchat_tools(document))
    assert first == second
    assert first["required"] == ["p"]


def test_what_contains_itself_is_marked():
    schema = {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/A"}}}
    document = {
        "info": INFO,
        "paths": {"/x": {"post": {"requestBody": body({"$ref": "#/components/schemas/A"})}}},
        "components": {"schemas": {"A": schema}},
    }
    (made,) = nextchat_tools(document)
    assert made.is_endless
    assert made.tool.parameters is None


@pytest.mark.parametrize(
    "operation",
    [
        {"requestBody": {}},
        {"requestBody": {"content": None}},
        {"requestBody": True},
        {"requestBody": body(True)},
        {"parameters": [{"name": "p", "in": "query"}]},
        {"requestBody": body({"type": "object"}), "parameters": [QUERY]},
        {"responses": {"200": {"$ref": "#/nowhere/at/all"}}},
    ],
)
def test_nextchat_imports_nothing_where_its_code_stops(operation):
    with pytest.raises(ImportFails):
        tools(operation)


def test_without_info_there_is_no_title():
    with pytest.raises(ImportFails):
        nextchat_tools({"paths": {}})


def test_a_reference_to_nothing_in_an_answer_is_no_matter():
    spec: dict[str, Any] = {"components": {"schemas": {}}}
    (tool,) = tools({"responses": {"200": {"$ref": "#/components/schemas/A"}}}, **spec)
    assert tool.name == "POST_x"
