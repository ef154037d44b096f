"""Mistakes that a model can mend are answered with 200: of an error NextChat shows the model
its status and nothing else."""

from typing import Any

from rest_framework import status
from rest_framework.response import Response

from plugin.exception_handler import handle
from retrieval.models import Collection

MENDABLE = {400, 404, 410, 413, 422, 503}
#: By code; what is not here is told by what is wrong with the fields.
WHAT_TO_DO = {
    "invalid_json": "Call again with one JSON object as the body.",
    "query_not_found": (
        "Send the query_id of the search, or the whole 👍 or 👎 link from the end of the answer "
        "that the user means. If you have neither, search again first."
    ),
    "link_invalid": (
        "Copy the whole 👍 or 👎 link from the end of the answer, or send the query_id of the "
        "search."
    ),
    "link_expired": "Tell the user that votes on this answer are no longer taken.",
    "passage_gone": "Search again: the document has changed since.",
    "search_unavailable": (
        "Try again in a few seconds; if it fails again, tell the user that the knowledge base "
        "cannot be searched at the moment, and do not answer from what you know yourself."
    ),
    "model_not_ready": "Tell the user that the knowledge base is still starting.",
}
OTHERWISE = "Mend what the message names and call again."
COLLECTIONS_NAMED = 20


def answer_mendable(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler for these views. Who may not call at all is told so as always."""
    response = handle(error, context)
    if response is None or response.status_code not in MENDABLE:
        return response
    # A retry is up to the model, not to the proxy between us.
    headers = {"Cache-Control": "no-store"}
    answer = {**response.data, "what_to_do": what_to_do(response.data["error"]["code"])}
    return Response(answer, status=status.HTTP_200_OK, headers=headers)


def what_to_do(code: str) -> str:
    if code == "collection_not_found":
        alive = Collection.objects.alive().order_by("slug").values_list("slug", flat=True)
        slugs = ", ".join(alive[:COLLECTIONS_NAMED])
        return f"Leave collection out, or name one of these: {slugs}."
    return WHAT_TO_DO.get(code, OTHERWISE)
