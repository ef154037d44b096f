"""Bodies of requests and answers. Input and output are kept apart."""

from typing import Any

from rest_framework import serializers

from retrieval.search import MAX_QUERY_LENGTH, MAX_TOP_K

MAX_COMMENT_LENGTH = 4000


class SearchInput(serializers.Serializer[Any]):
    query = serializers.CharField(
        max_length=MAX_QUERY_LENGTH,
        help_text="What to find: a question or keywords, in the user's own language.",
    )
    top_k = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_TOP_K,
        help_text="How many passages to return; 4 unless the collection says otherwise.",
    )
    collection = serializers.CharField(
        required=False,
        max_length=100,
        help_text="Which collection to search; leave it out for the default one.",
    )
    filter = serializers.DictField(
        required=False,
        help_text=(
            'Only documents whose front matter matches, e.g. {"tags": ["linux"]} or '
            '{"date": {"gte": "2024-01-01"}}.'
        ),
    )

    #: Names that older clients send.
    ALIASES = {"q": "query", "topk": "top_k"}

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            # Models fill in what they could leave out.
            data = {key: value for key, value in data.items() if value not in (None, "")}
            for alias, name in self.ALIASES.items():
                if alias in data:
                    data.setdefault(name, data[alias])
        return super().to_internal_value(data)


class SearchResult(serializers.Serializer[Any]):
    text = serializers.CharField(help_text="The passage, as Markdown.")
    title = serializers.CharField(help_text="Title of its document.")
    score = serializers.FloatField(
        min_value=0,
        max_value=1,
        help_text="Higher is better: weighted sum of likeness in meaning and shared words.",
    )
    meta = serializers.DictField(help_text="Front matter of the document.")
    heading_path = serializers.ListField(
        child=serializers.CharField(), help_text="Headings above the passage."
    )
    chunk_id = serializers.IntegerField()
    document_id = serializers.IntegerField()
    external_id = serializers.CharField(help_text="Path or address of the document.")
    url = serializers.CharField(help_text="Where the document can be read; may be empty.")


class SearchOutput(serializers.Serializer[Any]):
    query_id = serializers.UUIDField(help_text="Send it along with feedback on this answer.")
    results = SearchResult(many=True)
    confidence = serializers.ChoiceField(
        choices=["high", "low", "none"],
        help_text="How far the best passage can be relied on; none: say that it is not known.",
    )
    degraded = serializers.BooleanField(
        help_text="True while a part of the search is away and results may be worse."
    )
    degraded_reason = serializers.CharField(help_text="Which part; empty if none.")


class FeedbackInput(serializers.Serializer[Any]):
    query_id = serializers.UUIDField(help_text="The query_id that search answered with.")
    rating = serializers.ChoiceField(
        choices=["up", "down"], required=False, help_text="Whether the answer helped."
    )
    comment = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_COMMENT_LENGTH, help_text="Why."
    )
    correction = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_COMMENT_LENGTH,
        help_text="What would have been right.",
    )
    chunk_id = serializers.IntegerField(
        required=False, min_value=1, help_text="The passage that was wrong, if it was one."
    )
    voter = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=100,
        help_text="Who votes, so that a second vote replaces the first.",
    )

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            data = {key: value for key, value in data.items() if value not in (None, "")}
            if data.get("rating") in (1, -1, "1", "-1") and data["rating"] is not True:
                data["rating"] = "up" if str(data["rating"]) == "1" else "down"
        return super().to_internal_value(data)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not any(attrs.get(name) for name in ("rating", "comment", "correction")):
            raise serializers.ValidationError(
                "Send a rating (up or down), a comment or a correction."
            )
        return attrs


class FeedbackOutput(serializers.Serializer[Any]):
    feedback_id = serializers.IntegerField()
    status = serializers.ChoiceField(choices=["recorded", "updated"])


class ErrorDetail(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField()


class ErrorOutput(serializers.Serializer[Any]):
    error = ErrorDetail()
