"""What an upload brings, taken one by one: whatever is wrong with one stays with it."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from kbadmin.pages.batch import Item
from retrieval.addresses import accept_address
from retrieval.exceptions import FileTooLarge, InvalidRequest, KnowledgeBaseError
from retrieval.ingest import Accepted, Outcome, accept
from retrieval.models import Collection, Document, Revision
from retrieval.parsers.detection import BY_SUFFIX, Format, suffix_of
from retrieval.parsers.text import decode

NAME_LENGTH = 500
TITLE_LENGTH = 200
#: Characters of a pasted text, or of a list of addresses; more is a file.
TEXT_LENGTH = 500_000
#: Characters of a text's first line that become its title where none is given.
FIRST_LINE = 80
MAX_ADDRESSES = 500
#: Where the column mapping says something; an archive hands it on to its files.
TABLES = {Format.CSV, Format.XLSX, Format.JSONL, Format.ZIP}
TEXT_SUFFIXES = {".md", ".markdown", ".txt"}


def take_file(
    collection: Collection,
    path: str,
    file: "UploadedFile[Any]",
    columns: dict[str, str],
    brought: list[Revision],
) -> Item:
    """Hand one file over. A new version is put into `brought`."""
    name = clean_path(path or file.name or "")
    if not name or len(name) > NAME_LENGTH:
        return Item(path[:100], refusal=_("The file name is empty or too long."))

    def take() -> Accepted:
        if (file.size or 0) > settings.MAX_FILE_SIZE:
            # Said before the file is read into memory.
            raise FileTooLarge(
                _("The file is larger than %(limit)s. Split it, or raise KBADMIN_MAX_FILE_SIZE.")
                % {"limit": filesizeformat(settings.MAX_FILE_SIZE)}
            )
        return accept(
            collection,
            external_id=name,
            filename=name.rsplit("/", 1)[-1],
            data=file.read(),
            origin=Document.Origin.UPLOAD,
            options={"columns": columns} if columns and is_table(name) else {},
        )

    return _item(name, take, brought)


def take_text(collection: Collection, title: str, text: str, brought: list[Revision]) -> Item:
    """Hand over a text that was pasted."""
    name, data = text_file(title, text)
    return _item(
        name,
        lambda: accept(
            collection,
            external_id=name,
            filename=name,
            data=data,
            origin=Document.Origin.UPLOAD,
        ),
        brought,
    )


def take_address(collection: Collection, address: str, brought: list[Revision]) -> Item:
    """Hand over the address of a page, which the worker fetches."""
    return _item(address[:NAME_LENGTH], lambda: accept_address(collection, address), brought)


def text_file(title: str, text: str) -> tuple[str, bytes]:
    """Name and bytes of a pasted text: Markdown, unless its title ends otherwise."""
    text = text.replace("\r\n", "\n").strip("\n") + "\n"
    lines = (line.strip("#*_ \t") for line in text.splitlines() if line.strip("-#*_ \t"))
    title = title.strip() or next(lines, "")[:FIRST_LINE].strip()
    name = clean_path(title.replace("/", "-").replace("\\", "-")) or _("Pasted text")
    if suffix_of(name) not in TEXT_SUFFIXES:
        name += ".md"
        if not text.lstrip().startswith(("#", "---", title)):
            text = f"# {title}\n\n{text}"
    return name, text.encode("utf-8", "replace")


def addresses_in(pasted: str, file: "UploadedFile[Any] | None" = None) -> list[str]:
    """The addresses of a list, one a line, each once; a line that begins with # is a remark.

    Raises InvalidRequest if there are too many, ParseError if the file is no text.
    """
    if file is not None:
        if (file.size or 0) > TEXT_LENGTH:
            raise InvalidRequest(_("This list is too long. Split it."))
        pasted += "\n" + decode(file.read())
    lines = (line.strip().strip("<>,;\"'") for line in pasted.splitlines())
    wanted = dict.fromkeys(line for line in lines if line and not line.startswith("#"))
    if len(wanted) > MAX_ADDRESSES:
        raise InvalidRequest(
            _("These are %(n)d addresses; at most %(limit)d are taken at once.")
            % {"n": len(wanted), "limit": MAX_ADDRESSES}
        )
    return list(wanted)


def is_table(name: str) -> bool:
    return BY_SUFFIX.get(suffix_of(name)) in TABLES


def clean_path(path: str) -> str:
    """A relative path as a browser sends it → a name that is the same on every system."""
    parts = "".join(c for c in path.replace("\\", "/") if c.isprintable()).split("/")
    return "/".join(part for part in parts if part.strip() not in {"", ".", ".."})


def _item(name: str, take: Callable[[], Accepted], brought: list[Revision]) -> Item:
    try:
        accepted = take()
    except KnowledgeBaseError as error:
        return Item(name, refusal=error.message)
    except OSError as error:
        reason = error.strerror or str(error)
        return Item(name, refusal=_("The file could not be stored: %(e)s.") % {"e": reason})
    if accepted.outcome not in {Outcome.UNCHANGED, Outcome.RETRIED}:
        brought.append(accepted.revision)
    outcome, revision = str(accepted.outcome), accepted.revision.pk
    return Item(name, outcome, revision, document=accepted.document.pk)
