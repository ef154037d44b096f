"""Documents made with the libraries that people's programs use, for the tests of the parsers."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import docx
import openpyxl
import pptx
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Spacer


def pdf(
    pages: Iterable[Iterable[tuple[str, str]]],
    *,
    title: str = "",
    header: str = "",
) -> bytes:
    """Pages of (style, text); styles are reportlab's: Title, Heading1, Heading2, BodyText."""
    styles = getSampleStyleSheet()
    story: list = []
    for number, page in enumerate(pages):
        if number:
            story.append(PageBreak())
        for style, text in page:
            story += [Paragraph(text, styles[style]), Spacer(1, 4)]

    def decorate(canvas, template):
        if header:
            canvas.drawString(72, 800, header)
            canvas.drawString(300, 30, f"Page {canvas.getPageNumber()}")

    buffer = io.BytesIO()
    template = SimpleDocTemplate(buffer, title=title, author="")
    template.build(story, onFirstPage=decorate, onLaterPages=decorate)
    return buffer.getvalue()


def simple_pdf(text: str = "Backups run every night at two.", pages: int = 1) -> bytes:
    return pdf([[("BodyText", f"{text} ({number})")] for number in range(1, pages + 1)])


def encrypted_pdf(user_password: str = "secret") -> bytes:
    buffer = io.BytesIO()
    encryption = StandardEncryption(user_password, ownerPassword="owner")
    canvas = Canvas(buffer, encrypt=encryption)
    canvas.drawString(72, 700, "The safe opens with 4711.")
    canvas.save()
    return buffer.getvalue()


def scanned_pdf(pages: int = 1) -> bytes:
    """Pages with drawings and no letter."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for _ in range(pages):
        for y in range(100, 700, 20):
            canvas.rect(72, y, 400, 8, fill=1)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def word(build=None, *, title: str = "") -> bytes:
    """A Word file; `build` gets the python-docx document."""
    document = docx.Document()
    if build:
        build(document)
    else:
        document.add_heading("Backups", level=1)
        document.add_paragraph("Backups run every night at two.")
    document.core_properties.title = title
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def presentation(slides: Iterable[tuple[str, str, str]]) -> bytes:
    """Slides of (title, text, notes)."""
    deck = pptx.Presentation()
    for title, text, notes in slides:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    buffer = io.BytesIO()
    deck.save(buffer)
    return buffer.getvalue()


def workbook(sheets: Mapping[str, Sequence[Any]]) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def zipped(files: Mapping[Any, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data, compress_type=compression)
    return buffer.getvalue()


def repacked(office: bytes, changes: Mapping[str, bytes]) -> bytes:
    """An Office file with parts exchanged."""
    with zipfile.ZipFile(io.BytesIO(office)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return zipped({**files, **changes})
