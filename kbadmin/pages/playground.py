"""The hit test: a question, the settings it is asked with, and why each passage stands there.

It asks through the one search path (law 5), so what is seen here is what programs get.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from retrieval import trials
from retrieval.admin import audit
from retrieval.admin.collection_form import SETTINGS_TRIED
from retrieval.exceptions import KnowledgeBaseError
from retrieval.feedback import Vote, record
from retrieval.models import Collection, Document, Index, Judgment, Search
from retrieval.retrieval_settings import MAX_CONTEXT, as_json, parse_stored
from retrieval.search import MAX_QUERY_LENGTH, MAX_TOP_K, search
from retrieval.types import Hit, Mode, RetrievalSettings, Script, SearchRequest, SearchResponse

CHANNEL = "playground"
HISTORY = 12
#: Stages in the order in which they happen; "total" holds them all.
STAGES = ("embed", "dense", "lexical", "rerank", "read", "render")
LONGEST_QUOTE = 2000
MODES = [
    (Mode.HYBRID, gettext_lazy("meaning and words")),
    (Mode.DENSE, gettext_lazy("meaning alone")),
    (Mode.LEXICAL, gettext_lazy("words alone")),
]
MODE_NAMES = {str(value): label for value, label in MODES}


class QuestionForm(forms.Form):
    """What both sides of a comparison share."""

    collection = forms.ModelChoiceField(
        Collection.objects.alive().order_by("title"),
        to_field_name="slug",
        empty_label=None,
        label=gettext_lazy("Collection"),
    )
    q = forms.CharField(max_length=MAX_QUERY_LENGTH, label=gettext_lazy("Question"))
    filter = forms.JSONField(
        required=False,
        label=gettext_lazy("Filter"),
        help_text=gettext_lazy('Front matter as JSON, such as {"lang": "en"}'),
    )

    def clean_filter(self) -> dict[str, Any]:
        given = self.cleaned_data["filter"]
        if given not in ({}, None) and not isinstance(given, dict):
            raise forms.ValidationError(_("Write a JSON object: { … }"))
        return given or {}


class IndexField(forms.ModelChoiceField["Index"]):
    def label_from_instance(self, obj: Any) -> str:
        name = obj.embedding_model.name.rsplit("/", 1)[-1]
        return f"{name}, {obj.space}, {obj.chunk_size} ({obj.get_state_display()})"


class SettingsForm(forms.Form):
    """One way to search. What is left empty is as the collection has it."""

    mode = forms.ChoiceField(choices=MODES, label=gettext_lazy("Search by"))
    top_k = forms.IntegerField(
        min_value=1, max_value=MAX_TOP_K, label=gettext_lazy("Passages (top k)")
    )
    alphabetic = forms.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        label=gettext_lazy("Weight of meaning, alphabetic"),
    )
    cjk = forms.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        label=gettext_lazy("Weight of meaning, Chinese"),
    )
    min_score = forms.FloatField(min_value=0, max_value=1, label=gettext_lazy("Least score"))
    context = forms.IntegerField(
        min_value=0, max_value=MAX_CONTEXT, label=gettext_lazy("Neighbouring chunks")
    )
    index = IndexField(Index.objects.none(), required=False, label=gettext_lazy("Index"))

    def __init__(self, data: Mapping[str, Any], collection: Collection, prefix: str) -> None:
        own = parse_stored(collection.retrieval_settings)
        initial = {
            "mode": own.mode,
            "top_k": collection.default_top_k,
            "min_score": own.min_score,
            "context": own.context,
            "alphabetic": own.dense_weight.get(Script.ALPHABETIC, ""),
            "cjk": own.dense_weight.get(Script.CJK, ""),
            "index": collection.live_index_id,
        }
        # A link that names no setting asks with the collection's own.
        given = {f"{prefix}-{name}": value for name, value in initial.items()}
        given |= {key: value for key, value in data.items() if key.startswith(f"{prefix}-")}
        super().__init__(given, prefix=prefix)
        field = self.fields["index"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  # for mypy
        field.queryset = (
            Index.objects.complete()
            .filter(collection=collection)
            .select_related("embedding_model")
            .order_by("-created_at")
        )
        field.empty_label = _("the live one")
        self.own = own
        self._top_k = collection.default_top_k

    @property
    def differs(self) -> bool:
        """Whether this is not how the collection is searched anyway."""
        if not self.is_valid():
            return False
        return self.settings != self.own or self.cleaned_data["top_k"] != self._top_k

    @property
    def settings(self) -> RetrievalSettings:
        wanted = self.cleaned_data
        weights = {
            script: wanted[script.value] for script in Script if wanted[script.value] is not None
        }
        return replace(
            self.own,
            mode=Mode(wanted["mode"]),
            dense_weight=weights,
            min_score=wanted["min_score"],
            context=wanted["context"],
        )


@dataclass(slots=True)
class Side:
    """One way to search, and what it found."""

    form: SettingsForm
    answer: SearchResponse | None = None
    error: str = ""
    judged: frozenset[int] = frozenset()
    others: Mapping[int, int] | None = None  #: chunk → rank on the other side

    @property
    def stages(self) -> Iterator[tuple[str, float]]:
        timings = self.answer.timings if self.answer else {}
        return ((stage, timings[stage]) for stage in STAGES if stage in timings)

    @property
    def rows(self) -> "Iterator[Row]":
        for hit in self.answer.hits if self.answer else ():
            yield Row(
                hit=hit,
                parts=highlighted(hit),
                is_judged=hit.document_id in self.judged,
                moved=self._moved(hit),
            )

    def _moved(self, hit: Hit) -> str:
        if self.others is None:
            return ""
        other = self.others.get(hit.chunk_id)
        if other is None:
            return "new"
        return "same" if other == hit.rank else "up" if hit.rank < other else "down"


@dataclass(frozen=True, slots=True)
class Row:
    hit: Hit
    parts: Sequence[tuple[str, bool]]  #: text, and whether it is a match
    is_judged: bool
    moved: str  #: against the other side: up, down, same, new; empty without one

    @property
    def headings(self) -> list[str]:
        """The heading path, as far as it says more than the title."""
        return [heading for heading in self.hit.heading_path if heading != self.hit.title]

    @property
    def lexical_weight(self) -> float:
        return 1 - self.hit.explanation.dense_weight if self.hit.explanation else 0.0


def highlighted(hit: Hit) -> list[tuple[str, bool]]:
    """The passage's text in pieces, those that match marked."""
    matches = hit.explanation.matches if hit.explanation else ()
    borders = [0, *(place for match in matches for place in match), len(hit.text)]
    pieces = [(hit.text[a:b], number % 2 == 1) for number, (a, b) in enumerate(pairwise(borders))]
    return [piece for piece in pieces if piece[0]]


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("retrieval.view_document"):
        raise PermissionDenied
    if request.method == "POST":
        if "save" in request.POST:
            return save(request)
        return vote(request) if "vote" in request.POST else judge(request)
    return show(request)


def show(request: HttpRequest) -> HttpResponse:
    collections = Collection.objects.alive().order_by("title")
    collection = (
        collections.filter(slug=request.GET.get("collection", "")).first() or collections.first()
    )
    context = {
        **admin.site.each_context(request),
        "title": _("Playground"),
        "collection": collection,
        "may_save": request.user.has_perm("retrieval.change_collection"),
        "may_judge": request.user.has_perm("retrieval.add_judgment"),
        "may_vote": request.user.has_perm("retrieval.add_feedback"),
    }
    if collection is None:
        return TemplateResponse(request, "kbadmin/playground.html", context)
    asked = "q" in request.GET
    # A link need not name the collection.
    data = {**request.GET.dict(), "collection": collection.slug}
    question = QuestionForm(data if asked else None, initial=data)
    compares = "compare" in request.GET
    sides = [
        Side(SettingsForm(request.GET.dict(), collection, prefix))
        for prefix in (("a", "b") if compares else ("a",))
    ]
    if asked and question.is_valid():
        for side in sides:
            ask(side, question.cleaned_data, collection)
        mark(sides, question.cleaned_data["q"].strip(), collection)
    context |= {
        "question": question,
        "sides": sides,
        "compares": compares,
        "asked": asked and question.is_valid(),
        "alone_url": url(request, compare=None),
        "filter": request.GET.get("filter", ""),
        "tried": sides[0].form.differs,
        "drawer_open": compares
        or bool(question.errors.get("filter"))
        or any(side.form.differs or not side.form.is_valid() for side in sides),
        "here": request.get_full_path(),
        "history": history(collection),
    }
    return TemplateResponse(request, "kbadmin/playground.html", context)


def url(request: HttpRequest, **changes: str | None) -> str:
    """This page with other parameters."""
    given = {**request.GET.dict(), **changes}
    kept = {key: value for key, value in given.items() if value is not None}
    return f"{reverse('admin:playground')}?{urlencode(kept)}"


def ask(side: Side, wanted: Mapping[str, Any], collection: Collection) -> None:
    if not side.form.is_valid():
        return
    given = side.form.cleaned_data
    try:
        side.answer = search(
            SearchRequest(
                query=wanted["q"],
                collection=collection.slug,
                top_k=given["top_k"],
                filter=wanted["filter"],
                channel=CHANNEL,
                settings=side.form.settings,
                index_id=given["index"].pk if given["index"] else None,
                explain=True,
            )
        )
    except KnowledgeBaseError as error:
        side.error = error.message


def mark(sides: Sequence[Side], question: str, collection: Collection) -> None:
    """Note which documents are known to be right, and how the sides differ."""
    judged = frozenset(
        Judgment.objects.filter(collection=collection, question=question).values_list(
            "document", flat=True
        )
    )
    for side in sides:
        side.judged = judged
    if len(sides) == 2:
        for side, other in (sides, sides[::-1]):
            side.others = {
                hit.chunk_id: hit.rank for hit in (other.answer.hits if other.answer else ())
            }


def history(collection: Collection) -> list[Search]:
    """The last different questions to a collection, of programs and of this page."""
    recent = (
        Search.objects.filter(collection=collection)
        .only("query", "channel", "confidence", "created_at")
        .order_by("-created_at")[: HISTORY * 5]
    )
    first: dict[str, Search] = {}
    for row in recent:
        first.setdefault(row.query, row)
    return list(first.values())[:HISTORY]


@transaction.atomic
def save(request: HttpRequest) -> HttpResponse:
    """Make the settings that were tried those of the collection."""
    if not request.user.has_perm("retrieval.change_collection"):
        raise PermissionDenied
    collection = _collection(request)
    form = SettingsForm(request.POST.dict(), collection, "a") if collection else None
    if collection is None or form is None or not form.is_valid():
        messages.error(request, _("These settings cannot be used."))
        return redirect(_back(request))
    kept = {
        name: value
        for name, value in collection.retrieval_settings.items()
        if name in ("thresholds", "calibration")
    }
    wanted = as_json(form.settings) | kept
    collection.default_top_k = form.cleaned_data["top_k"]
    if collection.is_gated and trials.ranks_otherwise(collection.retrieval_settings, wanted):
        try:
            trials.start(collection, retrieval_settings=wanted, is_gate=True)
        except KnowledgeBaseError as error:
            messages.error(request, error.message)
            return redirect(_back(request))
        collection.save(update_fields=["default_top_k", "updated_at"])
        audit.record(request, audit.Deed.TRIAL, [collection])
        messages.success(request, SETTINGS_TRIED)
        return redirect(_back(request))
    collection.retrieval_settings = wanted
    collection.save(update_fields=["retrieval_settings", "default_top_k", "updated_at"])
    audit.record(request, audit.Deed.SETTINGS, [collection])
    messages.success(
        request,
        _("%(collection)s is searched like this from now on.") % {"collection": collection.title},
    )
    return redirect(_back(request))


def judge(request: HttpRequest) -> HttpResponse:
    """Add a document to the golden set as the right answer, or take it out again."""
    if not request.user.has_perm("retrieval.add_judgment"):
        raise PermissionDenied
    collection = _collection(request)
    question = request.POST.get("q", "").strip()[:MAX_QUERY_LENGTH]
    wanted = request.POST.get("right", "")
    document = (
        Document.objects.alive()
        .filter(collection=collection, pk=int(wanted) if wanted.isdecimal() else 0)
        .first()
    )
    if collection is None or document is None or not question:
        messages.error(request, _("This document is gone."))
        return redirect(_back(request))
    judgment, is_new = Judgment.objects.get_or_create(
        collection=collection,
        question=question,
        document=document,
        defaults={
            "quote": request.POST.get("quote", "")[:LONGEST_QUOTE],
            "source": Judgment.Source.MANUAL,
        },
    )
    if is_new:
        text = _("%(document)s is noted as a right answer.")
    else:
        judgment.delete()
        text = _("%(document)s is no longer noted as a right answer.")
    deed = audit.Deed.RIGHT if is_new else audit.Deed.NOT_RIGHT
    audit.record(request, deed, [document], detail=question)
    messages.success(request, text % {"document": document.title})
    return redirect(_back(request))


def vote(request: HttpRequest) -> HttpResponse:
    """Say of the answer that is shown whether it helped; it joins the queue for review."""
    if not request.user.has_perm("retrieval.add_feedback"):
        raise PermissionDenied
    try:
        record(
            Vote(
                query_id=request.POST.get("query_id", ""),
                rating=1 if request.POST["vote"] == "up" else -1,
                comment=request.POST.get("comment", "")[:LONGEST_QUOTE],
                voter=f"{CHANNEL}:{request.user.get_username()}",
                channel=CHANNEL,
            )
        )
    except KnowledgeBaseError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, _("Your feedback is in the queue."))
    return redirect(_back(request))


def _collection(request: HttpRequest) -> Collection | None:
    return Collection.objects.alive().filter(slug=request.POST.get("collection", "")).first()


def _back(request: HttpRequest) -> str:
    """To the same question; never anywhere else than to this page."""
    _path, _mark, query = request.get_full_path().partition("?")
    return f"{reverse('admin:playground')}?{query}"
