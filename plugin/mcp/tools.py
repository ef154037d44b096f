"""The tools: search and fetch as ChatGPT's connectors expect them, and feedback.

Source: https://platform.openai.com/docs/mcp: the answer of search is {"results": [{id, title,
url}]}, that of fetch {id, title, text, url, metadata}, each as JSON in one text item.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ValidationError

from plugin.exception_handler import first_sentence
from plugin.links import passage_link, source_link
from plugin.mcp.caller import Caller
from plugin.mcp.jsonrpc import INVALID_PARAMS, RpcError
from plugin.mcp.resources import PASSAGE, document_uri, excerpt_of
from plugin.mcp.revisions import is_structured
from plugin.serializers import MAX_COMMENT_LENGTH, FeedbackInput, SearchInput
from plugin.throttling import check_rate
from plugin.votes import cast, person
from retrieval.exceptions import CollectionNotFound, KnowledgeBaseError, PassageGone
from retrieval.live_documents import live_collections
from retrieval.models import Collection
from retrieval.search import MAX_QUERY_LENGTH, search
from retrieval.types import Hit, SearchRequest

CHANNEL = "mcp"
#: Characters that `fetch` answers with: a document that has more is cut around the passage.
FETCHED = 20_000
READS = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}
_search_input, _feedback_input = SearchInput(), FeedbackInput()


@dataclass(frozen=True, slots=True)
class Tool:
    """What a client may call: its description, and the function that answers."""

    name: str
    title: str
    description: str
    arguments: dict[str, Any]  #: JSON Schema of each
    required: tuple[str, ...]
    answer: dict[str, Any]  #: JSON Schema
    annotations: dict[str, Any]
    call: Callable[[dict[str, Any], Caller], dict[str, Any]]

    def described(self, revision: str) -> dict[str, Any]:
        """As tools/list tells it to a client of that revision."""
        told: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": self.arguments,
                "required": list(self.required),
            },
            "annotations": {"title": self.title, **self.annotations, "openWorldHint": False},
        }
        if is_structured(revision):
            told |= {"title": self.title, "outputSchema": self.answer}
        return told


def tools() -> dict[str, Tool]:
    """By name, as the collections are now."""
    return {tool.name: tool for tool in (_search_tool(live_collections()), FETCH, FEEDBACK)}


def call(params: dict[str, Any], caller: Caller, revision: str) -> dict[str, Any]:
    """The result of tools/call. Raises RpcError for a call that names no tool; what a model can
    mend is a result that says so."""
    name, arguments = params.get("name"), params.get("arguments")
    if not isinstance(name, str):
        raise RpcError(INVALID_PARAMS, "Invalid parameters: name the tool.")
    callees: dict[str, Callable[[dict[str, Any], Caller], dict[str, Any]]] = {
        "search": _search, FETCH.name: FETCH.call, FEEDBACK.name: FEEDBACK.call,
    }  # fmt: skip
    callee = callees.get(name)
    if callee is None:
        raise RpcError(INVALID_PARAMS, f"Unknown tool: {name[:100]}")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "Invalid parameters: arguments must be an object.")
    try:
        answer = callee(arguments, caller)
    except ValidationError as error:
        return _mistake(first_sentence(error.detail), "invalid_request")
    except KnowledgeBaseError as error:
        again = " Try again in a few seconds." if error.retryable else ""
        return _mistake(error.message + again, error.code)
    result: dict[str, Any] = {"content": [_text(_json(answer))], "isError": False}
    if is_structured(revision):
        result["structuredContent"] = answer
    return result


def _mistake(message: str, code: str) -> dict[str, Any]:
    # By the name that this passage has in our arguments.
    message = message.replace("chunk_id", "passage_id")
    return {"content": [_text(f"{message} ({code})")], "isError": True}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- search -------------------------------------------------------------------------------


def _search_tool(collections: list[Collection]) -> Tool:
    arguments: dict[str, Any] = {
        "query": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_QUERY_LENGTH,
            "description": "What to find: a question or keywords, in the user's own language.",
        }
    }
    if len(collections) > 1:
        listed = "; ".join(
            f"{one.slug}: {one.description.strip() or one.title}"[:200] for one in collections
        )
        arguments["collection"] = {
            "type": "string",
            "enum": [one.slug for one in collections],
            "description": (
                f"Which collection to search; {settings.DEFAULT_COLLECTION} if you leave it out. "
                f"{listed}"
            )[:2000],
        }
    return Tool(
        name="search",
        title="Search the knowledge base",
        description=(
            "Search the user's private knowledge base: their documents, manuals, procedures and "
            "notes. Use it before answering anything that these may cover. Returns the best "
            "passages: results with id, title and url, and in passages the text of each by its "
            "id. Answer from the passages and link their urls; call fetch with an id to read "
            "more around it. If confidence is none, say that the knowledge base does not know. "
            "Keep query_id: submit_feedback needs it when the user praises or corrects your "
            "answer."
        ),
        arguments=arguments,
        required=("query",),
        answer={
            "type": "object",
            "properties": {
                "results": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "id": {"type": "string"},
                            "title": {"type": "string"},
                            "url": {"type": "string"},
                        },
                        "required": ["id", "title", "url"],
                    },
                },
                "passages": {"type": "object", "additionalProperties": {"type": "string"}},
                "query_id": {"type": "string"},
                "confidence": {"type": "string", "enum": ["high", "low", "none"]},
                "degraded": {"type": "string"},
            },
            "required": ["results", "passages", "query_id", "confidence"],
        },
        annotations=READS,
        call=_search,
    )


def _search(arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
    wanted = _search_input.run_validation(arguments)
    request = SearchRequest(
        query=wanted["query"],
        collection=wanted.get("collection") or settings.DEFAULT_COLLECTION,
        top_k=wanted.get("top_k"),
        filter=wanted.get("filter") or {},
        channel=CHANNEL,
        asker=caller.name,
        mode=wanted.get("mode"),
        min_score=wanted.get("min_score"),
        context=wanted.get("context"),
    )
    try:
        answer = search(request)
    except CollectionNotFound as error:
        there = ", ".join(one.slug for one in live_collections()) or "none"
        raise CollectionNotFound(f"{error.message} Those that there are: {there}.") from error
    told: dict[str, Any] = {
        "results": [
            {"id": str(hit.chunk_id), "title": _title(hit), "url": source_link(hit)}
            for hit in answer.hits
        ],
        "passages": {str(hit.chunk_id): hit.text for hit in answer.hits},
        "query_id": answer.query_id,
        "confidence": answer.confidence,
    }
    if answer.degraded:
        told["degraded"] = answer.degraded
    return told


def _title(hit: Hit) -> str:
    """The document's, and the heading under which the passage stands."""
    title = hit.title or hit.external_id
    heading = hit.heading_path[-1] if hit.heading_path else ""
    return title if not heading or heading == title else f"{title} – {heading}"


# --- fetch --------------------------------------------------------------------------------


def _fetch(arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
    wanted = arguments.get("id")
    if isinstance(wanted, bool) or not isinstance(wanted, str | int):
        raise ValidationError({"id": ["Send the id of a search result."]})
    wanted = str(wanted).strip()
    try:
        uri = f"{PASSAGE}{wanted}" if wanted.isdecimal() else wanted
        excerpt = excerpt_of(uri, FETCHED, FETCHED)
    except ValueError as error:
        raise PassageGone(
            f"There is no passage {wanted[:100]!r}. Send the id of a search result."
        ) from error
    document = excerpt.document
    metadata: dict[str, Any] = {
        **document.metadata,
        "source": document.external_id,
        "collection": document.collection,
        "complete": excerpt.is_whole,
    }
    if excerpt.heading_path:
        metadata["headings"] = " > ".join(excerpt.heading_path)
    if excerpt.next_start is not None:
        metadata["continue_with"] = document_uri(document.pk, excerpt.next_start)
    return {
        "id": wanted,
        "title": document.title or document.external_id,
        "text": excerpt.text,
        "url": passage_link(excerpt.chunk_id, document.url),
        "metadata": metadata,
    }


FETCH = Tool(
    name="fetch",
    title="Read a passage in its document",
    description=(
        "Read more of what search found: the whole document of a passage, or of a long document "
        "what stands around it. Takes the id of a search result, or what an earlier fetch named "
        "as continue_with."
    ),
    arguments={"id": {"type": "string", "description": "The id of a search result."}},
    required=("id",),
    answer={
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "title": {"type": "string"},
            "text": {"type": "string"},
            "url": {"type": "string"},
            "metadata": {"type": "object"},
        },
        "required": ["id", "title", "text", "url"],
    },
    annotations=READS,
    call=_fetch,
)


# --- submit_feedback ----------------------------------------------------------------------


def _feedback(arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
    check_rate(caller.address, caller.key)
    passage = arguments.get("passage_id", arguments.get("chunk_id"))
    wanted = _feedback_input.run_validation({**arguments, "chunk_id": passage})
    voter = person(caller.key, wanted.get("voter", ""))
    feedback, is_new = cast(wanted, voter=voter, channel=CHANNEL)
    return {"feedback_id": feedback.pk, "status": "recorded" if is_new else "updated"}


FEEDBACK = Tool(
    name="submit_feedback",
    title="Say whether an answer helped",
    description=(
        "Record the user's opinion of an answer that rests on search: whether it helped, why, and "
        "what would have been right. Use it when the user praises, rejects or corrects an answer. "
        "Send at least one of rating, comment and correction. A second vote on the same query "
        "replaces the first."
    ),
    arguments={
        "query_id": {"type": "string", "description": "The query_id that search answered with."},
        "rating": {
            "type": "string",
            "enum": ["up", "down"],
            "description": "Whether the answer helped.",
        },
        "comment": {"type": "string", "maxLength": MAX_COMMENT_LENGTH, "description": "Why."},
        "correction": {
            "type": "string",
            "maxLength": MAX_COMMENT_LENGTH,
            "description": "What would have been right, in the user's words.",
        },
        "passage_id": {
            "type": "string",
            "description": "The id of the search result that was wrong, if it was one.",
        },
    },
    required=("query_id",),
    answer={
        "type": "object",
        "properties": {
            "feedback_id": {"type": "integer"},
            "status": {"type": "string", "enum": ["recorded", "updated"]},
        },
        "required": ["feedback_id", "status"],
    },
    annotations={"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True},
    call=_feedback,
)
