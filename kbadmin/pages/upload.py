"""Upload: files, a text or addresses, each accepted on its own, each with its live state."""

import re
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext
from django.views.decorators.http import require_http_methods

from kbadmin.pages import gaps, incoming
from kbadmin.pages.batch import Batch, Item
from kbadmin.pages.batch_report import report
from retrieval.admin import audit, versions
from retrieval.exceptions import InvalidRequest, KnowledgeBaseError
from retrieval.models import Collection, EmbeddingModel, ReviewItem, Revision, Worker
from retrieval.parsers.detection import BY_SUFFIX, Format

COLUMN_LENGTH = 200
HEADING = re.compile(r"#{1,6}\s")


class UploadForm(forms.Form):
    collection = forms.ModelChoiceField(
        Collection.objects.none(), label=gettext_lazy("Collection"), empty_label=None
    )
    question_column = forms.CharField(
        label=gettext_lazy("Question column"), max_length=COLUMN_LENGTH, required=False
    )
    answer_column = forms.CharField(
        label=gettext_lazy("Answer column"), max_length=COLUMN_LENGTH, required=False
    )

    title = forms.CharField(
        label=gettext_lazy("Title"), max_length=incoming.TITLE_LENGTH, required=False
    )
    text = forms.CharField(
        label=gettext_lazy("Text"),
        max_length=incoming.TEXT_LENGTH,
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 12}),
    )
    addresses = forms.CharField(
        label=gettext_lazy("Web addresses"),
        max_length=incoming.TEXT_LENGTH,
        required=False,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["collection"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  # for mypy
        field.queryset = Collection.objects.alive().order_by("title")

    def clean(self) -> None:
        if bool(self.cleaned_data.get("question_column")) != bool(
            self.cleaned_data.get("answer_column")
        ):
            raise forms.ValidationError(_("Name both columns, or neither."))

    @property
    def columns(self) -> dict[str, str]:
        """The mapping of a table's columns; empty where they are found by their names."""
        question, answer = (self.cleaned_data[f"{n}_column"] for n in ("question", "answer"))
        return {"question": question, "answer": answer} if question else {}

    @property
    def problem(self) -> str:
        errors = self.non_field_errors()
        if errors:
            return str(errors[0])
        if "collection" in self.errors:
            return _("Choose a collection.")
        name, found = next(iter(self.errors.items()))
        return f"{self.fields[name].label}: {found[0]}"


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("retrieval.add_document"):
        raise PermissionDenied
    batch = Batch.open(request.GET.get("batch", ""), user_id(request))
    if request.method == "POST":
        if "retry" in request.POST:
            return retry(request, batch)
        return receive(request, batch)
    if request.GET.get("batch") and batch is None:
        messages.info(request, _("That list is no longer kept. Its files are among the documents."))
        return redirect("admin:upload")
    return show(request, batch)


def show(request: HttpRequest, batch: Batch | None, status: int = 200) -> HttpResponse:
    writing = asked_for(request)
    initial = {"collection": request.GET.get("collection")}
    if writing is not None:
        initial = {"collection": str(writing.collection_id), **gaps.page_for(writing)}
    form = UploadForm(request.POST or None, initial=initial)
    has_collection = Collection.objects.alive().exists()
    context = {
        **admin.site.each_context(request),
        "title": _("Upload"),
        "form": form,
        "writing": writing,
        "has_collection": has_collection,
        "model_ready": has_collection or EmbeddingModel.objects.exists(),
        "max_size": settings.MAX_FILE_SIZE,
        "formats": format_names(),
        "suffixes": ",".join(BY_SUFFIX),
        "max_addresses": incoming.MAX_ADDRESSES,
        "max_files": settings.DATA_UPLOAD_MAX_NUMBER_FILES,
        **(progress_context(request, batch) if batch else {}),
    }
    return TemplateResponse(request, "kbadmin/upload.html", context, status=status)


def asked_for(request: HttpRequest) -> ReviewItem | None:
    """The question to review that a page is to be written for, where this user may see it."""
    wanted = request.GET.get("write", "")
    is_key = wanted.isascii() and wanted.isdecimal() and len(wanted) < 19
    if not is_key or not request.user.has_perm(gaps.VIEW):
        return None
    items = ReviewItem.objects.filter(collection__deleted_at=None)
    return items.defer("vector", "terms").filter(pk=int(wanted)).first()


def format_names() -> str:
    """What can be read, in the reader's words."""
    translated = {Format.TEXT: _("plain text"), Format.ZIP: _("ZIP archives of these")}
    names = [str(translated.get(kind, kind.value)) for kind in Format]
    return pgettext("between the parts of a list", ", ").join(names)


def progress(request: HttpRequest) -> HttpResponse:
    """The part of the page that asks for itself again while something is unfinished."""
    batch = Batch.open(request.GET.get("batch", ""), user_id(request))
    if batch is None:
        response = HttpResponse(status=204)
        response["HX-Refresh"] = "true"
        return response
    context = progress_context(request, batch)
    return TemplateResponse(request, "kbadmin/upload_progress.html", context)


def progress_context(request: HttpRequest, batch: Batch) -> dict[str, Any]:
    seen = request.GET.get("seen", "")
    everything = "all" in request.GET
    where = {"batch": batch.key, **({"all": "1"} if everything else {})}
    result = report(batch.items, int(seen) if seen.isdecimal() else 0, everything)
    return {
        "batch": batch.key,
        "report": result,
        "batch_url": f"{reverse('admin:upload')}?{urlencode(where)}",
        "all_url": f"{reverse('admin:upload')}?{urlencode({**where, 'all': '1'})}",
        "progress_url": f"{reverse('admin:upload_progress')}?"
        + urlencode({**where, "seen": result.percent}),
        "worker_alive": Worker.objects.alive().exists(),
    }


def receive(request: HttpRequest, batch: Batch | None) -> HttpResponse:
    form = UploadForm(request.POST)
    try:
        if not form.is_valid():
            raise InvalidRequest(form.problem)
        items = take_all(request, form)
    except KnowledgeBaseError as error:
        if wants_json(request):
            return JsonResponse({"error": error.message}, status=400)
        messages.error(request, error.message)
        return show(request, None, status=400)
    batch = batch or Batch.create(user_id(request))
    batch.add(items)
    address = f"{reverse('admin:upload')}?{urlencode({'batch': batch.key})}"
    return JsonResponse({"batch": address}) if wants_json(request) else redirect(address)


def wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


def take_all(request: HttpRequest, form: UploadForm) -> list[Item]:
    """What became of each file, text and address.

    Raises InvalidRequest or ParseError, before anything is taken, if there is nothing to take
    or the list of addresses cannot be read.
    """
    collection, text = form.cleaned_data["collection"], form.cleaned_data["text"]
    files = request.FILES.getlist("files")
    addresses = incoming.addresses_in(
        form.cleaned_data["addresses"], request.FILES.get("address_file")
    )
    if not (files or text.strip() or addresses):
        raise InvalidRequest(_("Choose at least one file, paste a text, or give an address."))
    if text.strip() and all(HEADING.match(line) for line in text.splitlines() if line.strip()):
        raise InvalidRequest(_("There are only headings yet. Write what answers them below each."))
    paths = request.POST.getlist("paths")
    if len(paths) != len(files):  # without JavaScript there are only names
        paths = [file.name or "" for file in files]
    brought: list[Revision] = []
    items = [
        incoming.take_file(collection, path, file, form.columns, brought)
        for path, file in zip(paths, files, strict=True)
    ]
    if text.strip():
        items.append(incoming.take_text(collection, form.cleaned_data["title"], text, brought))
    items += [incoming.take_address(collection, address, brought) for address in addresses]
    versions.record(user_id(request), brought)
    return items


def retry(request: HttpRequest, batch: Batch | None) -> HttpResponse:
    if batch is None:
        return redirect("admin:upload")
    failed = batch.failed()
    count = batch.retry()
    if count:
        audit.record(request, audit.Deed.RETRY, failed, count)
        text = ngettext("%(n)d file is queued again.", "%(n)d files are queued again.", count)
        messages.success(request, text % {"n": count})
    return redirect(f"{reverse('admin:upload')}?{urlencode({'batch': batch.key})}")


def user_id(request: HttpRequest) -> int:
    return request.user.pk or 0
