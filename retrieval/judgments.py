"""The golden set, as documents change under it."""

from collections.abc import Mapping

from retrieval.models import Judgment, Revision


def flag_stale(fresh: Mapping[int, Revision]) -> None:
    """Note which judgments quote what a document's new version does not say; `fresh` is by
    document. One that it says again is none of them any more."""
    rows = Judgment.objects.filter(document__in=list(fresh)).exclude(quote="")
    texts: dict[int, str] = {}
    for pk, document_id, quote, was in rows.values_list("pk", "document", "quote", "is_stale"):
        if document_id not in texts:
            texts[document_id] = _plain(fresh[document_id].text)
        is_stale = _plain(quote) not in texts[document_id]
        if is_stale != was:
            Judgment.objects.filter(pk=pk).update(is_stale=is_stale)


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()
