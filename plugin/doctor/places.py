"""Where in the documents stands what a server does wrong: the line that names the address."""

from plugin.doctor.subject import Subject
from plugin.doctor.types import Document


def of_openapi(subject: Subject) -> tuple[Document, str]:
    """Where the address of the OpenAPI document stands; the whole of it where it stands nowhere."""
    if subject.openapi is subject.manifest:
        return Document.MANIFEST, ""
    return of(subject, Document.OPENAPI)


def of(subject: Subject, document: Document) -> tuple[Document, str]:
    is_named = subject.manifest is not None and "/api/url" in subject.manifest.spans
    if document is Document.OPENAPI and is_named:
        return Document.MANIFEST, "/api/url"
    return document, ""
