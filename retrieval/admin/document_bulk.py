"""What many documents are asked about before it is done: deleting them, moving them.

The question carries the filter, not the documents: twelve thousand keys would not fit into a
form. What has been added since it was asked is left alone.
"""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from retrieval.admin import audit
from retrieval.admin.base import COUNT_CAP
from retrieval.admin.document_actions import delete_documents, move_documents
from retrieval.models import Collection, Document

NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Question:
    """What the page asks before it acts on many."""

    action: str
    title: str
    button: str
    is_move: bool = False


def confirm_delete(
    admin: Any, request: HttpRequest, documents: QuerySet[Document]
) -> HttpResponse | None:
    documents = known(request, documents)
    if not request.POST.get("post"):
        question = Question("delete_selected", _("Delete documents"), _("Delete"))
        return ask(admin, request, documents, question)
    named = audit.some(documents)
    count = delete_documents(documents)
    audit.record(request, audit.Deed.DELETE, named, count)
    text = ngettext("%(n)d document was deleted.", "%(n)d documents were deleted.", count)
    admin.message_user(request, text % {"n": count}, messages.SUCCESS)
    return None


def choose_collection(
    admin: Any, request: HttpRequest, documents: QuerySet[Document]
) -> HttpResponse | None:
    documents = known(request, documents)
    wanted = request.POST.get("target", "")
    if not request.POST.get("post"):
        question = Question(
            "move_to_collection", _("Move to another collection"), _("Move"), is_move=True
        )
        return ask(admin, request, documents, question)
    target = Collection.objects.alive().filter(pk=int(wanted) if wanted.isdecimal() else 0).first()
    if target is None:
        admin.message_user(request, _("That collection is gone."), messages.ERROR)
        return None
    chosen = documents.count()
    named = audit.some(documents.exclude(collection=target))
    count = move_documents(documents, target)
    text = ngettext(
        "%(n)d document is moving to %(collection)s, and is found all the time.",
        "%(n)d documents are moving to %(collection)s, and are found all the time.",
        count,
    )
    if count:
        audit.record(request, audit.Deed.MOVE, named, count, target.title)
        told = text % {"n": count, "collection": target.title}
        admin.message_user(request, told, messages.SUCCESS)
    if count < chosen:
        text = ngettext(
            "%(n)d document stays: it is there already, or its external id is taken there.",
            "%(n)d documents stay: they are there already, or their external ids are taken there.",
            chosen - count,
        )
        admin.message_user(request, text % {"n": chosen - count}, messages.WARNING)
    return None


def known(request: HttpRequest, documents: QuerySet[Document]) -> QuerySet[Document]:
    """Those that were there when the question was asked."""
    until = request.POST.get("until", "")
    return documents.filter(pk__lte=int(until)) if until.isdecimal() else documents


def ask(
    admin: Any, request: HttpRequest, documents: QuerySet[Document], question: Question
) -> HttpResponse:
    names = [str(document) for document in documents.order_by("-updated_at")[:NAMES_SHOWN]]
    count = documents.order_by()[:COUNT_CAP].count()
    newest = documents.order_by("-pk").values_list("pk", flat=True).first()
    across = request.POST.get("select_across") == "1"
    context = {
        **admin.admin_site.each_context(request),
        "title": question.title,
        "opts": admin.opts,
        "question": question,
        "names": names,
        "count": count,
        "is_capped": count == COUNT_CAP,
        "more": count - len(names),
        "until": newest or 0,
        "across": across,
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "chosen": request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)[: 1 if across else None],
        "collections": Collection.objects.alive().order_by("title")[:200]
        if question.is_move
        else (),
        "back": request.get_full_path(),
    }
    return TemplateResponse(request, "kbadmin/documents_confirm.html", context)
