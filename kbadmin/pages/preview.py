"""How a file or a pasted text would be cut, before it is uploaded; nothing is kept of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from kbadmin.pages import incoming
from retrieval.exceptions import FileTooLarge, InvalidRequest, KnowledgeBaseError
from retrieval.factories import trial_chunker
from retrieval.models import Collection
from retrieval.parsers import is_archive
from retrieval.parsers.sandbox import parse_isolated
from retrieval.reading import parser_limits
from retrieval.types import ChunkSlice, ParsedDocument

#: Bytes of a file, characters of its text, and chunks that a preview looks at.
FILE_BYTES = 5 * 1024 * 1024
TEXT_LENGTH = 200_000
CUTS_SHOWN = 60
#: Seconds that somebody waits for a file to be read.
PATIENCE = 20.0
BARS = 16


class PreviewForm(forms.Form):
    collection = forms.ModelChoiceField(Collection.objects.none())
    chunk_size = forms.IntegerField(
        label=gettext_lazy("Chunk size"),
        required=False,
        validators=[MinValueValidator(16), MaxValueValidator(8192)],
    )
    chunk_overlap = forms.IntegerField(
        label=gettext_lazy("Chunk overlap"),
        required=False,
        validators=[MinValueValidator(0), MaxValueValidator(4096)],
    )
    title = forms.CharField(max_length=500, required=False)
    text = forms.CharField(max_length=incoming.TEXT_LENGTH, required=False, strip=False)
    #: What an earlier answer had read from a file, so that it is sent and read once.
    read_title = forms.CharField(max_length=500, required=False)
    read_text = forms.CharField(max_length=2 * TEXT_LENGTH, required=False, strip=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["collection"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  # for mypy
        field.queryset = Collection.objects.alive().select_related(
            "live_index", "embedding_model", "live_index__embedding_model"
        )

    @property
    def problem(self) -> str:
        name, found = next(iter(self.errors.items()))
        if name == "collection":
            return _("Choose a collection.")
        return f"{self.fields[name].label}: {found[0]}"


@dataclass(frozen=True, slots=True)
class Cut:
    """One chunk, in parts: what it shares with the one before it, and the rest."""

    number: int
    tokens: int
    heading: str
    shared: str
    text: str
    gap: str  #: text between the one before and this that is in neither


@dataclass(frozen=True, slots=True)
class Bar:
    """One column of the histogram, in units of its drawing."""

    x: int
    y: float
    height: float
    low: int  #: tokens
    high: int
    count: int


@dataclass(frozen=True, slots=True)
class Sizes:
    total: int
    smallest: int
    median: int
    largest: int
    tokens: int
    bars: tuple[Bar, ...]


@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """The cuts, as a part of the upload page; 422 with a sentence where there are none."""
    if not request.user.is_authenticated:
        # Not behind admin_view: a login page must not be swapped into the preview.
        response = HttpResponse(status=204)
        response["HX-Refresh"] = "true"
        return response
    if not (request.user.is_staff and request.user.has_perm("retrieval.add_document")):
        raise PermissionDenied
    form = PreviewForm(request.POST)
    status, context = 200, {}
    try:
        if not form.is_valid():
            raise InvalidRequest(form.problem)
        context = cuts_of(form.cleaned_data, request.FILES.get("file"))
    except KnowledgeBaseError as error:
        status, context = 422, {"problem": error.message}
    return TemplateResponse(request, "kbadmin/upload_preview.html", context, status=status)


def cuts_of(wanted: dict[str, Any], file: "UploadedFile[Any] | None") -> dict[str, Any]:
    """Context of the preview. Raises KnowledgeBaseError, in the words the upload would get."""
    collection: Collection = wanted["collection"]
    own = collection.live_index or collection
    size = wanted["chunk_size"] or own.chunk_size
    overlap = own.chunk_overlap if wanted["chunk_overlap"] is None else wanted["chunk_overlap"]
    if overlap >= size:
        raise InvalidRequest(_("The overlap must be smaller than the chunk size."))
    parsed = read(wanted, file)
    text = parsed.text[:TEXT_LENGTH]
    chunker = trial_chunker(own.embedding_model_id, size, overlap)
    slices = chunker.split(text, parsed.title)
    differs = (size, overlap) != (own.chunk_size, own.chunk_overlap)
    page = reverse("admin:retrieval_collection_change", args=[collection.pk])
    query = urlencode({"chunk_size": size, "chunk_overlap": overlap})
    return {
        "collection": collection,
        "own": own,
        "size": size,
        "overlap": overlap,
        "limit": own.embedding_model.max_tokens,
        "is_limited": size > chunker.limit,
        "parsed": parsed,
        "read_text": text,
        "is_cut_off": len(parsed.text) > TEXT_LENGTH,
        "cuts": list_cuts(text, slices[:CUTS_SHOWN]),
        "hidden": max(len(slices) - CUTS_SHOWN, 0),
        "sizes": measure([piece.token_count for piece in slices], chunker.limit),
        "reindex_url": f"{page}?{query}#kb-index" if differs else "",
    }


def read(wanted: dict[str, Any], file: "UploadedFile[Any] | None") -> ParsedDocument:
    """The text to cut: of a file, of one that was read before, or as it was pasted."""
    if file is not None:
        name = incoming.clean_path(file.name or "") or "file"
        if (file.size or 0) > FILE_BYTES:
            raise FileTooLarge(
                _("Files up to %(limit)s can be previewed. Larger ones can be uploaded.")
                % {"limit": filesizeformat(FILE_BYTES)}
            )
        data = file.read()
    elif wanted["read_text"].strip():
        # Forms are sent with the line ends of Windows.
        return ParsedDocument(wanted["read_title"], wanted["read_text"].replace("\r\n", "\n"), {})
    elif wanted["text"].strip():
        name, data = incoming.text_file(wanted["title"], wanted["text"])
    else:
        raise InvalidRequest(_("Choose a file or paste a text to see how it is cut."))
    if is_archive(name, data):
        raise InvalidRequest(
            _("The files of an archive become documents of their own. Preview one of them.")
        )
    patience = min(PATIENCE, settings.MAX_PARSE_SECONDS)
    return parse_isolated(name, data, parser_limits(), {}, patience)


def list_cuts(text: str, slices: Sequence[ChunkSlice]) -> list[Cut]:
    cuts = []
    reached = 0
    for piece in slices:
        border = min(max(reached, piece.start), piece.end)
        cuts.append(
            Cut(
                number=piece.order + 1,
                tokens=piece.token_count,
                heading=" › ".join(piece.heading_path),
                shared=text[piece.start : border],
                text=text[border : piece.end],
                gap=text[reached : piece.start].strip(),
            )
        )
        reached = max(reached, piece.end)
    return cuts


def measure(tokens: Sequence[int], limit: int) -> Sizes:
    """How large the chunks are, and how many there are of each size."""
    if not tokens:
        return Sizes(0, 0, 0, 0, 0, ())
    width = -(-max(limit, *tokens) // BARS)
    counts = [0] * BARS
    for number in tokens:
        counts[min((number - 1) // width, BARS - 1)] += 1
    highest = max(counts)
    # Even a single chunk among hundreds is to be seen.
    heights = [max(48 * count / highest, 2) if count else 0 for count in counts]
    bars = tuple(
        Bar(x * 10, 50 - height, height, x * width + 1, (x + 1) * width, count)
        for x, (count, height) in enumerate(zip(counts, heights, strict=True))
    )
    return Sizes(len(tokens), min(tokens), round(median(tokens)), max(tokens), sum(tokens), bars)
