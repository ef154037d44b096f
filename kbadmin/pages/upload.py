"""Upload: several files at once, each accepted on its own, each with its live state."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext
from django.views.decorators.http import require_http_methods

from kbadmin.pages.batch import Batch, Item
from kbadmin.pages.batch_report import report
from retrieval.admin import versions
from retrieval.exceptions import FileTooLarge, KnowledgeBaseError
from retrieval.ingest import Outcome, accept
from retrieval.models import Collection, Document, EmbeddingModel, Revision, Worker
from retrieval.parsers.detection import BY_SUFFIX, Format, suffix_of

NAME_LENGTH = 500
COLUMN_LENGTH = 200
#: Where the column mapping says something; an archive hands it on to its files.
TABLES = {Format.CSV, Format.XLSX, Format.JSONL, Format.ZIP}


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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["collection"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101
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
        return str(errors[0]) if errors else _("Choose a collection.")


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
    form = UploadForm(request.POST or None, initial={"collection": request.GET.get("collection")})
    has_collection = Collection.objects.alive().exists()
    context = {
        **admin.site.each_context(request),
        "title": _("Upload"),
        "form": form,
        "has_collection": has_collection,
        "model_ready": has_collection or EmbeddingModel.objects.exists(),
        "max_size": settings.MAX_FILE_SIZE,
        "formats": format_names(),
        "suffixes": ",".join(BY_SUFFIX),
        "max_files": settings.DATA_UPLOAD_MAX_NUMBER_FILES,
        **(progress_context(request, batch) if batch else {}),
    }
    return TemplateResponse(request, "kbadmin/upload.html", context, status=status)


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
    wants_json = request.headers.get("Accept") == "application/json"
    form = UploadForm(request.POST)
    files = request.FILES.getlist("files")
    if not form.is_valid() or not files:
        problem = _("Choose at least one file.") if form.is_valid() else form.problem
        if wants_json:
            return JsonResponse({"error": problem}, status=400)
        messages.error(request, problem)
        return show(request, None, status=400)
    paths = request.POST.getlist("paths")
    if len(paths) != len(files):  # without JavaScript there are only names
        paths = [file.name or "" for file in files]
    brought: list[Revision] = []
    items = [
        take(form.cleaned_data["collection"], path, file, form.columns, brought)
        for path, file in zip(paths, files, strict=True)
    ]
    versions.record(user_id(request), brought)
    batch = batch or Batch.create(user_id(request))
    batch.add(items)
    address = f"{reverse('admin:upload')}?{urlencode({'batch': batch.key})}"
    if wants_json:
        return JsonResponse({"batch": address})
    return redirect(address)


def take(
    collection: Collection,
    path: str,
    file: "UploadedFile[Any]",
    columns: dict[str, str],
    brought: list[Revision],
) -> Item:
    """Hand one file over; whatever is wrong with it stays with it. A new version is put into
    `brought`."""
    name = clean_path(path or file.name or "")
    try:
        if (file.size or 0) > settings.MAX_FILE_SIZE:
            # Said before the file is read into memory.
            raise FileTooLarge(
                _("The file is larger than %(limit)s. Split it, or raise KBADMIN_MAX_FILE_SIZE.")
                % {"limit": filesizeformat(settings.MAX_FILE_SIZE)}
            )
        if not name or len(name) > NAME_LENGTH:
            return Item(path[:100], refusal=_("The file name is empty or too long."))
        accepted = accept(
            collection,
            external_id=name,
            filename=name.rsplit("/", 1)[-1],
            data=file.read(),
            origin=Document.Origin.UPLOAD,
            options={"columns": columns} if columns and is_table(name) else {},
        )
    except KnowledgeBaseError as error:
        return Item(name, refusal=error.message)
    except OSError as error:
        reason = error.strerror or str(error)
        return Item(name, refusal=_("The file could not be stored: %(e)s.") % {"e": reason})
    if accepted.outcome not in {Outcome.UNCHANGED, Outcome.RETRIED}:
        brought.append(accepted.revision)
    return Item(name, str(accepted.outcome), accepted.revision.pk)


def is_table(name: str) -> bool:
    return BY_SUFFIX.get(suffix_of(name)) in TABLES


def clean_path(path: str) -> str:
    """A relative path as a browser sends it → a name that is the same on every system."""
    parts = "".join(c for c in path.replace("\\", "/") if c.isprintable()).split("/")
    return "/".join(part for part in parts if part.strip() not in {"", ".", ".."})


def retry(request: HttpRequest, batch: Batch | None) -> HttpResponse:
    if batch is None:
        return redirect("admin:upload")
    count = batch.retry()
    if count:
        text = ngettext("%(n)d file is queued again.", "%(n)d files are queued again.", count)
        messages.success(request, text % {"n": count})
    return redirect(f"{reverse('admin:upload')}?{urlencode({'batch': batch.key})}")


def user_id(request: HttpRequest) -> int:
    return request.user.pk or 0
