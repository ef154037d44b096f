"""A correction becomes part of the knowledge base: four ways, one function each.

`propose` says what would be done, for a reviewer to edit; `accept` prepares it. What it changes,
how the questions are answered until then, and what takes it back are committed together: a kill
leaves all of it or nothing. Nobody is answered with it (`staging`) before the worker has shown that
it makes no other golden question worse, or a reviewer has confirmed it (`proof`).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from retrieval import aliases, editing, hidden, history, ingest
from retrieval.exceptions import InvalidRequest, KnowledgeBaseError, ReviewConflict
from retrieval.feedback import measuring, queue, staging
from retrieval.feedback.staging import live_chunk
from retrieval.models import (
    Acceptance,
    Alias,
    Chunk,
    Document,
    Judgment,
    ReviewItem,
    Revision,
)
from retrieval.models.revision import STAGED
from retrieval.search import MAX_QUERY_LENGTH, search
from retrieval.types import MetadataValue, SearchRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Kind = Acceptance.Kind
State = Acceptance.State
#: Wordings that are accepted together, and characters of an answer or a passage.
MAX_QUESTIONS, MAX_ANSWER = 20, 20_000
#: Of a text, the characters that a golden answer is recognised by.
QUOTED = 300
#: Where documents say that they come from that were written here.
SOURCE = "feedback"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to be accepted; everything but the kind can be edited."""

    kind: str
    questions: Sequence[str] = ()
    answer: str = ""  #: of a question and answer: Markdown
    chunk_id: int | None = None  #: the passage to edit, to lead to, or to hide
    text: str = ""  #: of an edited passage
    #: of another passage: those that could be meant, best first
    choices: Sequence[int] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Change:
    """What one of the four ways has prepared."""

    undo: dict[str, Any]
    document: Document | None = None
    revision: Revision | None = None
    quote: str = ""  #: by which the right answer is recognised later; empty if there is none


# --- What would be done -----------------------------------------------------------------------


def propose(item_id: int, kind: str, chunk_id: int | None = None) -> Proposal:
    """A way to make a question's answer good, filled in as far as that is known.

    Raises ReviewItem.DoesNotExist, or InvalidRequest if there is no such way.
    """
    if kind not in Kind.values:
        raise InvalidRequest(f"{kind} is no way to accept a correction.")
    details = queue.read_details(item_id)
    questions = [question.text for question in details.questions[:MAX_QUESTIONS]]
    live = [passage for passage in details.passages if passage.is_live]
    at_fault = sorted(live, key=lambda passage: (not passage.is_at_fault, passage.rank))
    if kind == Kind.ANSWER:
        return Proposal(kind, questions, answer=details.correction)
    if kind == Kind.ALIAS:
        choices = _others(details, {passage.chunk_id for passage in live[:1]})
        chosen = chunk_id or (choices[0] if choices else None)
        return Proposal(kind, questions, chunk_id=chosen, choices=choices)
    chosen = chunk_id or (at_fault[0].chunk_id if at_fault else None)
    if kind == Kind.HIDE:
        return Proposal(kind, questions, chunk_id=chosen)
    text = Chunk.objects.filter(pk=chosen or 0).values_list("text", flat=True).first() or ""
    if details.correction and text:
        text = f"{text.rstrip()}\n\n{details.correction}"
    return Proposal(kind, questions, chunk_id=chosen, text=text)


def _others(details: queue.Details, wrong: set[int]) -> list[int]:
    """Passages that may be the right one: what the correction finds, then what was answered."""
    found = [passage.chunk_id for passage in details.passages if passage.is_live]
    if details.correction:
        response = search(
            SearchRequest(
                query=details.correction[:MAX_QUERY_LENGTH],
                collection=details.row.item.collection.slug,
                top_k=measuring.DEPTH,
                channel=measuring.CHANNEL,
                is_logged=False,
            )
        )
        found = [hit.chunk_id for hit in response.hits] + found
    return [pk for pk in dict.fromkeys(found) if pk not in wrong]


# --- Doing it ---------------------------------------------------------------------------------


def accept(item_id: int, proposal: Proposal, user: "User") -> Acceptance:
    """Prepare what a reviewer has decided, and close the group.

    Raises:
        ReviewConflict: somebody has closed it meanwhile, or the passage has changed.
        InvalidRequest: what was given is not usable.
        SearchUnavailable: the questions cannot be asked now.
    """
    if proposal.kind not in Kind.values:
        raise InvalidRequest(f"{proposal.kind} is no way to accept a correction.")
    item = ReviewItem.objects.select_related("collection").get(pk=item_id)
    collection = item.collection
    if collection.deleted_at is not None:
        raise ReviewConflict("The collection of this question was deleted.")
    wordings = [question.text for question in item.questions.order_by("-asked", "pk")[:20]]
    questions = measuring.check_questions(proposal.questions or wordings, MAX_QUESTIONS)
    # Before the lock: asking takes a while.
    before = measuring.measure(collection, questions)
    with transaction.atomic():
        item = queue.lock_open(item_id)
        if item.acceptances.filter(state__in=Acceptance.UNSETTLED).exists():
            raise ReviewConflict("What was accepted before is being taken back; wait for it.")
        change = _WAYS[Kind(proposal.kind)](item, proposal, questions)
        queue.close(item, user, ReviewItem.State.ACCEPTED)
        # Not before it is searched: what is asked meanwhile is answered as before.
        item.closed_at = None
        item.save(update_fields=["closed_at"])
        data = {**asdict(proposal), "questions": questions, "quote": change.quote}
        data.pop("choices")
        return Acceptance.objects.create(
            item=item,
            kind=proposal.kind,
            reviewer=user,
            data=data,
            undo=change.undo,
            document=change.document,
            revision=change.revision,
            before=before.as_json(),
        )


def _write_answer(item: ReviewItem, proposal: Proposal, questions: list[str]) -> Change:
    """A document of its own for the group, so that it can be taken back alone."""
    answer = proposal.answer.replace("\r\n", "\n").strip()
    if not any(map(str.isalnum, answer)):
        raise InvalidRequest("An answer needs some text.")
    if len(answer) > MAX_ANSWER:
        raise InvalidRequest(f"An answer may have {MAX_ANSWER:,} characters.")
    name = f"answers/{item.pk}.md"
    known = Document.objects.filter(collection=item.collection, external_id=name).first()
    was = known.latest_revision if known is not None and known.deleted_at is None else None
    accepted = ingest.accept(
        item.collection,
        external_id=name,
        filename=f"{item.pk}.md",
        data=as_markdown(questions, answer),
        origin=Document.Origin.FEEDBACK,
        source=SOURCE,
        # Asked for by name, so it is not kept out of search for being like another.
        options={"keep_duplicate": True, STAGED: []},
    )
    if accepted.outcome == ingest.Outcome.UNCHANGED:
        raise InvalidRequest("This answer is there already, word for word.")
    quote = _quote(answer)
    # Short questions are nearer to each other than to an answer: each leads to it by itself, as
    # soon as it is indexed.
    made = aliases.create(accepted.document, questions, quote, staged=True)
    undo = {
        "version": was.number if was is not None else None,
        "aliases": [alias.pk for alias in made],
    }
    return Change(undo, accepted.document, accepted.revision, quote=quote)


def as_markdown(questions: Sequence[str], answer: str) -> bytes:
    """A question, its other wordings and the answer as a document that all of them find."""
    title = questions[0][:500]
    others = "\n".join(f"- {question}" for question in questions[1:])
    text = f"{others}\n\n{answer}" if others else answer
    metadata: dict[str, MetadataValue] = {"title": title, "kind": "answer"}
    return editing.as_markdown(title, metadata, text, "answer.md")


def _edit(item: ReviewItem, proposal: Proposal, questions: list[str]) -> Change:
    chunk = live_chunk(item.collection, proposal.chunk_id)
    if len(proposal.text) > MAX_ANSWER:
        raise InvalidRequest(f"A passage may have {MAX_ANSWER:,} characters here.")
    was = chunk.document.live_revision
    revision = editing.edit_chunk(chunk.pk, proposal.text, staged=True)
    undo = {"version": was.number if was is not None else None}
    return Change(undo, revision.document, revision, quote=_quote(proposal.text))


def _lead_elsewhere(item: ReviewItem, proposal: Proposal, questions: list[str]) -> Change:
    chunk = live_chunk(item.collection, proposal.chunk_id)
    made = aliases.create(chunk.document, questions, chunk.text, staged=True)
    if not made:
        raise InvalidRequest("These questions lead to that passage already.")
    undo = {"aliases": [alias.pk for alias in made]}
    return Change(undo, chunk.document, quote=_quote(chunk.text))


def _hide(item: ReviewItem, proposal: Proposal, questions: list[str]) -> Change:
    chunk = live_chunk(item.collection, proposal.chunk_id)
    return Change({"chunk": chunk.pk, "text": chunk.text}, chunk.document)


_WAYS: dict[Acceptance.Kind, Callable[[ReviewItem, Proposal, list[str]], Change]] = {
    Kind.ANSWER: _write_answer,
    Kind.EDIT: _edit,
    Kind.ALIAS: _lead_elsewhere,
    Kind.HIDE: _hide,
}


def _quote(text: str) -> str:
    """The first line that says something, as the document will say it; a heading only where there
    is nothing else, because another text may stand below the same one."""
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))]
    lines.sort(key=lambda line: line.startswith("#"))
    return lines[0][:QUOTED] if lines else ""


# --- Making it final, and taking it back ------------------------------------------------------


def confirm(acceptance_id: int, user: "User") -> Acceptance:
    """Make live what makes other answers worse.

    Raises ReviewConflict if it does not wait for that, or what it changes was changed meanwhile.
    """
    with transaction.atomic():
        acceptance = locked(acceptance_id)
        if acceptance.state != State.WAITING:
            raise ReviewConflict("This does not wait for a confirmation, or not any more.")
        go_live(acceptance)
    return acceptance


def go_live(acceptance: Acceptance) -> None:
    """Let an acceptance be searched that is locked. Raises ReviewConflict as `confirm` does."""
    if staging.publish(acceptance):
        finish(acceptance)
    else:
        acceptance.state = State.GOING_LIVE
        acceptance.save(update_fields=["state"])


def finish(acceptance: Acceptance) -> None:
    """Make an acceptance final that is locked and searched; the golden set grows by it."""
    now = timezone.now()
    acceptance.state = State.FINAL
    acceptance.final_at = now
    acceptance.save(update_fields=["state", "final_at"])
    ReviewItem.objects.filter(pk=acceptance.item_id, is_open=False).update(closed_at=now)
    document = acceptance.document
    if acceptance.kind == Kind.HIDE or document is None:
        return
    questions = acceptance.data["questions"]
    known = set(
        Judgment.objects.filter(document=document, question__in=questions).values_list(
            "question", flat=True
        )
    )
    Judgment.objects.bulk_create(
        Judgment(
            collection_id=document.collection_id,
            question=question,
            document=document,
            quote=acceptance.data["quote"],
            source=Judgment.Source.FEEDBACK,
            acceptance=acceptance,
        )
        for question in questions
        if question not in known
    )


def roll_back(acceptance_id: int, user: "User") -> Acceptance:
    """Discard what waits, or take back what is live; the group is open again. What was before is
    searched again as soon as the worker has indexed it, and asked again to show that it is.

    Raises ReviewConflict if it was taken back already, or something was built on it since.
    """
    with transaction.atomic():
        acceptance = locked(acceptance_id)
        if acceptance.state not in Acceptance.CAN_BE_TAKEN_BACK:
            raise ReviewConflict("This was taken back already, or it failed.")
        item = ReviewItem.objects.select_for_update(of=("self",)).get(pk=acceptance.item_id)
        others = item.acceptances.filter(state__in=Acceptance.UNSETTLED)
        if others.exclude(pk=acceptance.pk).exists():
            raise ReviewConflict("Something else was accepted for this question; wait for it.")
        if is_live(acceptance):
            acceptance.revision = _take_back(acceptance)
        else:
            staging.discard(acceptance)
        acceptance.state = State.UNDOING
        acceptance.undone_by = user
        acceptance.save(update_fields=["revision", "state", "undone_by"])
        acceptance.judgments.all().delete()
        put_back(item)
    return acceptance


def is_live(acceptance: Acceptance) -> bool:
    """Whether people are answered with it, or the worker may just have made that so."""
    revision = acceptance.revision
    return acceptance.final_at is not None or bool(revision and revision.indexed_at)


def put_back(item: ReviewItem) -> None:
    """Open a group again that is locked, unless it is."""
    if not item.is_open:
        item.reopen()
        item.save()
        queue.reopen_votes(item)


def _take_back(acceptance: Acceptance) -> Revision | None:
    """Returns the version that is searched once that is done, if it is another."""
    undo, document = acceptance.undo, acceptance.document
    Alias.objects.filter(pk__in=undo.get("aliases", ())).retire()
    if acceptance.kind == Kind.ALIAS:
        return acceptance.revision
    if document is None or document.deleted_at is not None:
        return acceptance.revision  # gone, and with it what was accepted
    if acceptance.kind == Kind.HIDE:
        _show_again(document, undo)
        return acceptance.revision
    latest = document.latest_revision
    if latest is None or latest.pk != acceptance.revision_id:
        raise ReviewConflict(
            f"{document} was changed after this was accepted. Restore an earlier version of it, "
            "or take back first what was accepted later."
        )
    if undo["version"] is None:
        document.tombstone()
        return acceptance.revision
    try:
        return history.restore(document, undo["version"])
    except KnowledgeBaseError as error:
        raise ReviewConflict(error.message) from error


def _show_again(document: Document, undo: dict[str, Any]) -> None:
    """The chunk, or wherever the text stands now."""
    off = Chunk.objects.filter(document=document, revision=document.live_revision_id, enabled=False)
    chosen = off.filter(pk=undo["chunk"]) or [
        chunk for chunk in off if chunk.text in undo["text"] or undo["text"] in chunk.text
    ]
    hidden.switch_chunks([chunk.pk for chunk in chosen], enabled=True)


def locked(acceptance_id: int) -> Acceptance:
    return (
        Acceptance.objects.select_for_update(of=("self",))
        .select_related("document", "revision", "item__collection")
        .get(pk=acceptance_id)
    )
