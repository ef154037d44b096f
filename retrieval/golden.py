"""The golden set of a collection: filled from files, written to files.

A quote that a document does not say makes its judgment stale, until somebody looks at it.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass
from itertools import chain

from django.db import transaction
from django.db.models import QuerySet

from retrieval import judgments
from retrieval.evaluation import LOOKUP_BATCH, resolve
from retrieval.exceptions import InvalidQuestions
from retrieval.models import Collection, Document, Judgment, Revision
from retrieval.questions import DOCUMENT, QUESTION, QUOTE, QuestionSet
from retrieval.search import MAX_QUERY_LENGTH
from retrieval.spreadsheets import harmless

#: Texts that are in memory at once.
TEXTS = 50
LONGEST_QUOTE = 2000
#: Paragraphs times documents that one import may look through.
LOOKS = 20_000_000
FIELDS = (QUESTION, DOCUMENT, QUOTE, "collection")


@dataclass(frozen=True, slots=True)
class Row:
    """A judgment as files have it."""

    question: str
    document: str  #: external id
    quote: str = ""
    collection: str = ""  #: its slug, for people: an import goes where it is told to


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import would do."""

    new: tuple[Row, ...]
    known: int  #: judgments that the golden set has already
    unresolved: tuple[str, ...]  #: questions without a document that is searched
    unknown: tuple[str, ...]  #: external ids that the collection does not have
    too_long: int  #: questions that search would refuse
    left_out: int  #: rows that ask nothing, or that the file says nothing answers


def plan(collection: Collection, questions: QuestionSet) -> Plan:
    """What adding the questions of a file would do; changes nothing.

    Raises InvalidQuestions for more paragraphs than can be looked for while somebody waits.
    """
    paragraphs = len({item.passage for item in questions.questions if item.passage})
    if paragraphs * Document.objects.searchable().filter(collection=collection).count() > LOOKS:
        raise InvalidQuestions(
            f"{questions.source}: {paragraphs:,} paragraphs are too many to look for among the "
            "documents of this collection. Split the file."
        )
    short = [item for item in questions.questions if len(item.question) <= MAX_QUERY_LENGTH]
    resolved = resolve(collection, short)
    rows = {
        (item.question, name): Row(item.question, name, item.quote[:LONGEST_QUOTE])
        for item in resolved.questions
        for name in sorted(item.relevant)
    }
    there = _there(collection)
    new = tuple(row for key, row in rows.items() if key not in there)
    return Plan(
        new=new,
        known=len(rows) - len(new),
        unresolved=tuple(item.question for item in resolved.unanswered),
        unknown=resolved.unknown,
        too_long=len(questions.questions) - len(short),
        left_out=questions.empty + questions.unanswerable,
    )


@transaction.atomic
def add(
    collection: Collection, rows: Iterable[Row], source: str = Judgment.Source.IMPORT
) -> list[Judgment]:
    """Add those that are not there yet and whose documents are searched; what was added."""
    # Two imports at once would both find that a row is not there.
    Collection.objects.select_for_update().get(pk=collection.pk)
    there = _there(collection)
    wanted = {
        (row.question, row.document): row
        for row in rows
        if (row.question, row.document) not in there
    }
    documents = _documents(collection, {name for _question, name in wanted})
    added = Judgment.objects.bulk_create(
        (
            Judgment(
                collection=collection,
                question=row.question,
                document_id=documents[row.document],
                quote=row.quote,
                source=source,
            )
            for row in wanted.values()
            if row.document in documents
        ),
        batch_size=500,
    )
    check_quotes(judgment.document_id for judgment in added if judgment.quote)
    return added


def _there(collection: Collection) -> set[tuple[str, str]]:
    rows = Judgment.objects.filter(collection=collection)
    return set(rows.values_list("question", "document__external_id"))


def _documents(collection: Collection, names: set[str]) -> dict[str, int]:
    searched = Document.objects.searchable().filter(collection=collection)
    wanted = sorted(names)
    found: dict[str, int] = {}
    for start in range(0, len(wanted), LOOKUP_BATCH):
        batch = searched.filter(external_id__in=wanted[start : start + LOOKUP_BATCH])
        found |= dict(batch.values_list("external_id", "pk"))
    return found


# --- Files ----------------------------------------------------------------------------------


def rows_of(chosen: QuerySet[Judgment]) -> Iterator[Row]:
    rows = chosen.filter(document__deleted_at=None).order_by("pk")
    for values in rows.values_list(
        "question", "document__external_id", "quote", "collection__slug"
    ).iterator():
        yield Row(*values)


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """Lines of a file that an import reads; the mark at its front tells Excel that it is UTF-8."""
    line = io.StringIO()
    writer = csv.writer(line)
    yield "\ufeff"
    for values in chain([FIELDS], map(astuple, rows)):
        writer.writerow(map(harmless, values))
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def as_jsonl(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(asdict(row), ensure_ascii=False) + "\n"


# --- What documents still say ---------------------------------------------------------------


def check_quotes(documents: Iterable[int]) -> None:
    """See at once whether the live versions of some documents say what is quoted of them."""
    wanted = sorted(set(documents))
    for start in range(0, len(wanted), TEXTS):
        rows = Document.objects.filter(
            pk__in=wanted[start : start + TEXTS], live_revision__isnull=False
        )
        live = Revision.objects.filter(pk__in=rows.values("live_revision_id"))
        judgments.flag_stale({revision.document_id: revision for revision in live})


def forget_quotes(chosen: QuerySet[Judgment]) -> int:
    """Somebody says that the documents still answer: keep them, without the quotes."""
    return chosen.filter(is_stale=True).update(quote="", is_stale=False)
