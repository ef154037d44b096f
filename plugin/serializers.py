"""Bodies of requests and answers. Input and output are kept apart."""

from typing import Any

from rest_framework import serializers

from retrieval.feedback.votes import MAX_ANSWER, MAX_COMMENT, MAX_CORRECTION, MAX_QUESTION
from retrieval.retrieval_settings import MAX_CONTEXT
from retrieval.search import MAX_QUERY_LENGTH, MAX_TOP_K
from retrieval.types import Mode

MAX_COMMENT_LENGTH = MAX_COMMENT


class QuestionInput(serializers.Serializer[Any]):
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


class SearchInput(QuestionInput):
    filter = serializers.DictField(
        required=False,
        help_text=(
            'Only documents whose front matter matches, e.g. {"tags": ["linux"]} or '
            '{"date": {"gte": "2024-01-01"}}.'
        ),
    )

    mode = serializers.ChoiceField(
        choices=[str(mode) for mode in Mode],
        required=False,
        help_text="hybrid: by meaning and words; dense: by meaning alone; lexical: by words alone.",
    )
    min_score = serializers.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        help_text="Leave out passages that score less.",
    )
    # The metaclass takes fields out of the class, so that DRF's own `context` stays what it is.
    context = serializers.IntegerField(  # type: ignore[assignment]
        required=False,
        min_value=0,
        max_value=MAX_CONTEXT,
        help_text="So many neighbouring chunks join each passage on either side.",
    )
    explain = serializers.BooleanField(
        required=False, help_text="Say for each passage why it stands where it does."
    )


class ExplanationOutput(serializers.Serializer[Any]):
    space = serializers.CharField(help_text="What the distance means: cosine, ip or l2.")
    distance = serializers.FloatField(allow_null=True, help_text="Lower is nearer.")
    similarity = serializers.FloatField(allow_null=True, help_text="The distance as a cosine.")
    dense_rank = serializers.IntegerField(allow_null=True)
    bm25 = serializers.FloatField(allow_null=True, help_text="Higher is better, unbounded.")
    lexical_score = serializers.FloatField(
        allow_null=True, help_text="The share of the most that this query could have scored."
    )
    lexical_rank = serializers.IntegerField(allow_null=True)
    dense_weight = serializers.FloatField(help_text="Share of meaning; words have the rest.")
    fused_score = serializers.FloatField()
    question_score = serializers.FloatField(
        allow_null=True,
        help_text=(
            "How far a question that leads to it asks the same; the score of the best result "
            "where it is more."
        ),
    )
    rerank_score = serializers.FloatField(allow_null=True)
    matched_terms = serializers.ListField(child=serializers.CharField())
    matches = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()),
        help_text="Start and end of each match, in characters of the text.",
    )
    index = serializers.CharField(help_text="Name of the index in Chroma.")
    model = serializers.CharField(help_text="Embedding model.")


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
    explanation = ExplanationOutput(required=False, help_text="Only if it was asked for.")


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
    timings = serializers.DictField(
        child=serializers.FloatField(),
        required=False,
        help_text="Milliseconds by stage; only if an explanation was asked for.",
    )


class PassageInput(serializers.Serializer[Any]):
    chunk_id = serializers.IntegerField(
        min_value=1, max_value=2**63 - 1, help_text="The chunk_id of a result of search."
    )
    # As above.
    context = serializers.IntegerField(  # type: ignore[assignment]
        required=False,
        min_value=0,
        max_value=MAX_CONTEXT,
        help_text="How many passages before and after it to return as well; 1 if left out.",
    )

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            data = {key: value for key, value in data.items() if value not in (None, "")}
        return super().to_internal_value(data)


class PassageOutput(serializers.Serializer[Any]):
    chunk_id = serializers.IntegerField()
    document_id = serializers.IntegerField()
    external_id = serializers.CharField(help_text="Path or address of the document.")
    title = serializers.CharField(help_text="Title of its document.")
    heading_path = serializers.ListField(
        child=serializers.CharField(), help_text="Headings above the passage."
    )
    url = serializers.CharField(help_text="Where the document can be read; may be empty.")
    meta = serializers.DictField(help_text="Front matter of the document.")
    before = serializers.CharField(help_text="What stands before the passage; may be empty.")
    text = serializers.CharField(help_text="The passage, as Markdown.")
    after = serializers.CharField(help_text="What stands after the passage; may be empty.")
    has_more_before = serializers.BooleanField(help_text="A larger context returns more before.")
    has_more_after = serializers.BooleanField(help_text="A larger context returns more after.")


class FeedbackInput(serializers.Serializer[Any]):
    query_id = serializers.UUIDField(
        required=False, help_text="The query_id that search answered with."
    )
    question = serializers.CharField(
        required=False,
        max_length=MAX_QUESTION,
        help_text="What was asked; only needed without a query_id.",
    )
    answer = serializers.CharField(
        required=False, max_length=MAX_ANSWER, help_text="What was answered."
    )
    collection = serializers.CharField(
        required=False,
        max_length=100,
        help_text="Which collection should have answered; only used without a query_id.",
    )
    rating = serializers.ChoiceField(
        choices=["up", "down"], required=False, help_text="Whether the answer helped."
    )
    comment = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_COMMENT_LENGTH, help_text="Why."
    )
    correction = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_CORRECTION,
        help_text="What would have been right.",
    )
    chunk_id = serializers.IntegerField(
        required=False, min_value=1, help_text="The passage that was wrong, if it was one."
    )
    document_id = serializers.IntegerField(
        required=False, min_value=1, help_text="The document that was wrong, if it was one."
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
        if not (attrs.get("query_id") or attrs.get("question") or attrs.get("token")):
            raise serializers.ValidationError(
                "Send the query_id that search answered with, or the question that was asked."
            )
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
