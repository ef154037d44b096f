"""Bad input, and what has to become of each file: "indexed", or the code it fails with.

Every file has bytes of its own: two alike would be duplicates of each other.
"""

import codecs
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.retrieval.parsers.samples import (
    encrypted_pdf,
    presentation,
    repacked,
    scanned_pdf,
    simple_pdf,
    word,
    workbook,
    zipped,
)

#: What the limits are set to while the corpus is read.
MAX_FILE_SIZE = 51 * 1024 * 1024
MAX_PAGES = 20
MAX_ZIP_ENTRIES = 50
MAX_ZIP_SIZE = 24 * 1024 * 1024

INDEXED = "indexed"
UNPACKED = "unpacked"
CHINESE = "把文件解压到指定的目录，然后查看里面的内容。"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(64))
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
W = b'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
BODY = "word/document.xml"


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    expected: str
    make: Callable[[], bytes]


CORPUS: list[Case] = []


def case(name: str, expected: str, data: bytes | Callable[[], bytes]) -> None:
    assert name not in {other.name for other in CORPUS}
    CORPUS.append(Case(name, expected, data if callable(data) else lambda: data))


# --- Nothing in it ------------------------------------------------------------------------

case("empty.md", "no_text", b"")
case("blank.txt", "no_text", b"  \n\t\r\n ")
case("mark-only.txt", "no_text", codecs.BOM_UTF8)
case("mark-only-16.txt", "no_text", codecs.BOM_UTF16_LE)
case("punctuation.md", "no_text", b"***\n\n- \n\n> \n")
case("only-front-matter.md", "no_text", b"---\ntitle: nothing below\n---\n")
case("controls-only.txt", "no_text", b"\x01\x02\x1b\x7f")

# --- Encodings ----------------------------------------------------------------------------

case("utf8-mark.md", INDEXED, codecs.BOM_UTF8 + "# Öffnungszeiten\n\nNeun bis fünf.".encode())
case("utf16-le.txt", INDEXED, codecs.BOM_UTF16_LE + "Little end first.".encode("utf-16-le"))
case("utf16-be.txt", INDEXED, codecs.BOM_UTF16_BE + "Big end first.".encode("utf-16-be"))
case("utf16-no-mark.txt", INDEXED, "No mark.\r\nTwo lines of it.".encode("utf-16-le"))
case("utf16-no-mark-zh.md", INDEXED, f"# 标题\n\n{CHINESE} tar\n".encode("utf-16-be"))
case("utf16-cut.txt", "undecodable_text", codecs.BOM_UTF16_LE + b"a\x00b\x00c")
case("utf16-lone-surrogate.txt", "undecodable_text", codecs.BOM_UTF16_LE + b"a\x00\x00\xd8b\x00")
case("gb18030.md", INDEXED, f"# 压缩\n\n{CHINESE}\n".encode("gb18030"))
case("latin-1.txt", "undecodable_text", "naïve café à la carte, s'il vous plaît".encode("latin-1"))
case("cyrillic.txt", "undecodable_text", "Привет, как дела сегодня".encode("cp1251"))
case("surrogate-in-utf8.txt", "undecodable_text", b"half a pair: \xed\xa0\x80 there")
case("cut-character.txt", "undecodable_text", "almost whole: 北".encode()[:-1])
case("nul.md", "undecodable_text", b"# Text\n\nwith a \x00 in it, and more words")
case("zeros.txt", "undecodable_text", bytes(3000))
case("noise.txt", "undecodable_text", bytes(range(128, 256)) * 20)
case("controls.txt", INDEXED, b"bell \x07 escape \x1b[31m red\x1b[0m and form\x0cfeed")
case("line-ends.txt", INDEXED, b"one\rtwo\r\nthree\n\rfour")
case(
    "odd-unicode.txt",
    INDEXED,
    "e\u0301 \u202eright to left\u202c \U0001f469\u200d\U0001f4bb".encode(),
)

# --- Front matter -------------------------------------------------------------------------


def page(front_matter: str, body: str) -> bytes:
    return f"---\n{front_matter}\n---\n{body}\n".encode()


REFERENCES = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
MERGES = [f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: 1}}" for n in range(1, 30)]
case("broken-yaml.md", "invalid_front_matter", page("title: x\ntags: [one, two\ndate: y", "Text 1"))
case("tab-yaml.md", "invalid_front_matter", page("title: x\n\ttags: y", "Text 2"))
case("colon-yaml.md", "invalid_front_matter", page("title: a: b: c", "Text 3"))
case("python-yaml.md", "invalid_front_matter", page("x: !!python/object:os.system a", "Text 4"))
case("bomb-yaml.md", "invalid_front_matter",
     page("\n".join(["a0: &a0 [x, x, x]", *REFERENCES]), "Text 5"))  # fmt: skip
case("merge-bomb-yaml.md", "invalid_front_matter",
     page("\n".join(["m0: &m0 {k: 1}", *MERGES]), "Text 6"))  # fmt: skip
case("deep-yaml.md", "invalid_front_matter", page("x: " + "[" * 5000, "Text 7"))
case("long-yaml.md", "invalid_front_matter", page("x: 1\n" * 50_000, "Text 8"))
case("surrogate-yaml.md", INDEXED, page('title: "half \\ud800 pair"', "Text 9"))
case("nan-yaml.md", INDEXED, page("x: .nan\ny: .inf\nz: " + "9" * 400, "Text 10"))
case("open-yaml.md", INDEXED, b"---\ntitle: never closed\n\nText 11\n")

# --- Shapes that hurt parsers -------------------------------------------------------------

case("headings.md", INDEXED, "\n".join(f"# Heading {n}\n" for n in range(10_000)).encode())
case("deep-quotes.md", INDEXED, b">" * 20_000 + b" quoted far down")
case("deep-list.md", INDEXED, "\n".join("  " * n + f"- item {n}" for n in range(400)).encode())
case("brackets.md", INDEXED, b"[" * 20_000 + b"in brackets" + b"]" * 20_000)
case("images.md", INDEXED, b"![a](" * 2_000 + b" an image")
case("emphasis.md", INDEXED, b"*a **b _c __d " * 1_000)
case("backticks.md", INDEXED, b"".join(b"`" * n + b" x " for n in range(1, 150)))
case("open-fence.md", INDEXED, b"# Code\n\n```\nnever closed\n" + b"line\n" * 500)
case("html-soup.md", INDEXED, b"<div><p><!-- <b>" * 1_000 + b" some text")
case("one-word.txt", INDEXED, b"x" * 300_000)
case("line-50mb.txt", "text_too_long", lambda: b"long line " * (5 * 1024 * 1024))
case("too-large.txt", "file_too_large", lambda: bytes(MAX_FILE_SIZE + 1))

# --- Another kind than the name says ------------------------------------------------------

case("pdf-called.md", INDEXED, lambda: simple_pdf("A PDF under another name"))
case("word-called.txt", INDEXED, lambda: word(title="A Word file under another name"))
case("word-called.zip", INDEXED, lambda: word(title="A Word file called an archive"))
case("page-called.txt", INDEXED, b"<!DOCTYPE html><html><body><p>A page.</p></body></html>")
case("png-called.pdf", "wrong_type", PNG)
case("png-called.md", "wrong_type", PNG + b"2")
case("jpeg-called.docx", "wrong_type", b"\xff\xd8\xff\xe0" + bytes(40))
case("text-called.pdf", "wrong_type", b"Just words.")
case("text-called.xlsx", "wrong_type", b"a,b\n1,2\n")
case("page-called.pdf", "wrong_type", b"<html><body>404 not found</body></html>")
case("page-called.csv", "wrong_type", b"<!doctype html><html><body>Please log in</body></html>")
case("program-called.txt", "wrong_type", b"MZ\x90\x00\x03\x00" + bytes(100))
case("rich-called.txt", "wrong_type", b"{\\rtf1\\ansi Some words.}")
case("gzip-called.md", "wrong_type", b"\x1f\x8b\x08\x00" + bytes(30))
case("zip-called.docx", "wrong_type", lambda: zipped({"a.txt": b"words"}))
case("epub-called.zip.md", "wrong_type", lambda: zipped({"META-INF/container.xml": b"<x/>"}))
case("unknown.xyz", "unsupported_format", b"words")
case("legacy.doc", "legacy_office", OLE)
case("legacy-called.xlsx", "legacy_office", OLE + b"1")
case("encrypted.docx", "encrypted_file", OLE + "EncryptedPackage".encode("utf-16-le"))

# --- PDF ----------------------------------------------------------------------------------


def bare_pdf(objects: list[bytes]) -> bytes:
    """A PDF of these objects without a table of them, which readers then make themselves."""
    parts = [b"%d 0 obj\n%s\nendobj\n" % (number, body) for number, body in enumerate(objects, 1)]
    return b"%PDF-1.4\n" + b"".join(parts) + b"trailer << /Root 1 0 R >>\n%%EOF\n"


def flooding_pdf() -> bytes:
    """One page whose text unpacks to 100 MB of nothing."""
    stream = zlib.compress(b"BT /F1 9 Tf " + b" " * (100 * 1024 * 1024) + b" (x) Tj ET", 9)
    return bare_pdf([
        b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R >>",
        b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
    ])  # fmt: skip


CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
case("cut-half.pdf", "damaged_file", lambda: simple_pdf("Cut in half", 5)[:3000])
case("cut-end.pdf", "damaged_file", lambda: simple_pdf("Cut at the end")[:-20])
case("head-only.pdf", "damaged_file", b"%PDF-1.7\n")
case("noise-inside.pdf", "damaged_file", b"%PDF-1.7\n" + bytes(range(256)) * 30 + b"\n%%EOF")
case("no-pages.pdf", "damaged_file", bare_pdf([CATALOG]))
case("loop.pdf", "damaged_file", bare_pdf([CATALOG, b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>"]))
case("lost-table.pdf", INDEXED,
     lambda: simple_pdf("The table is lost").replace(b"startxref\n", b"startxref\n9"))  # fmt: skip
case("flood.pdf", INDEXED, flooding_pdf)
case("encrypted.pdf", "encrypted_file", lambda: encrypted_pdf("secret"))
case("owner-password.pdf", INDEXED, lambda: encrypted_pdf(""))
case("scan.pdf", "no_text", scanned_pdf)
case("many-pages.pdf", "too_many_pages", lambda: simple_pdf("Page", MAX_PAGES + 1))

# --- Office -------------------------------------------------------------------------------


def entities(depth: int = 12) -> bytes:
    """XML in which a few names unfold to a billion."""
    lines = [b'<!ENTITY e0 "lol">']
    lines += [b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, depth)]
    return b'<?xml version="1.0"?><!DOCTYPE x [%s]>' % b"".join(lines)


def word_of(xml: bytes) -> bytes:
    return repacked(word(), {BODY: xml})


LAUGHS = entities() + b"<w:document %s><w:body><w:p><w:r><w:t>&e11;</w:t></w:r></w:p></w:body>"
CELLS = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
case("empty.docx", "no_text", lambda: word(lambda document: None, title="Empty"))
case("cut.docx", "damaged_file", lambda: word()[:5000])
case("cut.pptx", "damaged_file", lambda: presentation([("a", "b", "")])[:9000])
case("cut.xlsx", "damaged_file", lambda: workbook({"a": [["b"]]})[:2000])
case("broken-xml.docx", "damaged_file", lambda: word_of(b"<w:document %s><w:body>" % W))
case("laughs.docx", "damaged_file", lambda: word_of(LAUGHS % W + b"</w:document>"))
case("lost-part.docx", "damaged_file", lambda: zipped({"[Content_Types].xml": (
    b"<Types><Override PartName='/word/document.xml' ContentType='application/vnd."
    b"openxmlformats-officedocument.wordprocessingml.document.main+xml'/></Types>")}))  # fmt: skip
case("bomb.docx", "zip_bomb", lambda: repacked(word(), {"word/media/a": bytes(30 * 1024 * 1024)}))
case("no-words.pptx", "no_text", lambda: presentation([("", "", "")]))
case("many-slides.pptx", "too_many_pages", lambda: presentation([("a", "b", "")] * (MAX_PAGES + 1)))
case("empty.xlsx", "no_text", lambda: workbook({"Sheet": []}))
case("header-only.xlsx", "no_text", lambda: workbook({"Sheet": [["Question", "Answer"]]}))
case("broken-sheet.xlsx", "damaged_file",
     lambda: repacked(workbook({"a": [["b", "c"], [1, 2]]}),
                      {"xl/worksheets/sheet1.xml": CELLS + b"<sheetData><row>"}))  # fmt: skip
case("many-sheets.xlsx", "too_many_pages",
     lambda: workbook({f"s{n}": [["a"], ["b"]] for n in range(MAX_PAGES + 1)}))  # fmt: skip

# --- Web pages ----------------------------------------------------------------------------

case("deep.html", "too_deeply_nested", b"<html><body>" + b"<div>" * 3000 + b"far down")
case("scripts.html", "no_text", b"<html><body><script>var x = 1;</script></body></html>")
case("soup.html", INDEXED, b"<html><p>one<b>two<i>three</b></p><table><td>four<li>five</html")
case("sjis.html", INDEXED,
     '<meta charset="shift_jis"><p>日本語のページです。</p>'.encode("shift_jis"))  # fmt: skip
case("wrong-charset.html", "undecodable_text", b'<meta charset="euc-jp"><p>\xff\xfe\xfd words</p>')
case("unknown-charset.html", "undecodable_text", b'<meta charset="klingon"><p>\xff\xfe words</p>')
case("laughs.html", INDEXED, entities() + b"<html><body><p>&e11; and words</p></body></html>")

# --- Tables and records -------------------------------------------------------------------

case("open-quote.csv", "invalid_table", b'a,b\n1,"never closed\n2,3\n')
case("header-only.csv", "no_text", b"question,answer\n")
case("wide.csv", "invalid_table", b",".join(b"c%d" % n for n in range(5000)) + b"\n1,2\n")
case("ragged.csv", INDEXED, b"name,price\nbolt\nnut,2,3,4\n,,\nscrew,5\n")
case("huge-cell.csv", INDEXED, b'name,text\nbolt,"' + b"many words " * 4_000 + b'"\n')
case("stray-quotes.csv", INDEXED, b'name,size\n"bolt "long" one",2\nnut,3\n')
case("nul.csv", "undecodable_text", b"a,b\n1,\x002 and more\n")
case("gbk-pairs.csv", INDEXED, f"问题,答案\n怎么解压文件？,{CHINESE}\n".encode("gb18030"))
case("broken.jsonl", "invalid_record", b'{"title": "a", "text": "b"}\n{"title": \n')
case("cut.jsonl", "invalid_record", b'{"title": "a", "text": "b"}\n{"title": "c", "te')
case("deep.jsonl", "invalid_record", b"[" * 200_000)
case("array.jsonl", "invalid_record", b"[1, 2, 3]\n")
case("number.jsonl", "invalid_record", b'{"x": ' + b"9" * 10_000 + b"}\n")
case("surrogate.jsonl", INDEXED, b'{"title": "half \\ud800", "text": "nul \\u0000 and words"}\n')

# --- Archives -----------------------------------------------------------------------------


def link() -> bytes:
    entry = zipfile.ZipInfo("passwords.txt")
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped({entry: b"/etc/passwd"})


def flagged_encrypted() -> bytes:
    """The flag alone: a reader has to stop at it."""
    data = bytearray(zipped({"a.txt": b"words"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def lying_size() -> bytes:
    """Entries that claim a size of 10 bytes and unpack to a megabyte."""
    data = bytearray(zipped({"a.txt": bytes(1024 * 1024)}))
    data[22:26] = (10).to_bytes(4, "little")
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (10).to_bytes(4, "little")
    return bytes(data)


def stored(text: bytes) -> bytes:
    return zipped({"a.txt": text}, zipfile.ZIP_STORED)


MANY = {f"{n}.txt": b"words" for n in range(MAX_ZIP_ENTRIES + 1)}
case("good.zip", UNPACKED, lambda: zipped({"a/b.md": b"# In an archive\n\nWords.", ".x": b"y"}))
case("bomb.zip", "zip_bomb", lambda: zipped({"a.txt": bytes(8 * 1024 * 1024)}))
case("large.zip", "zip_bomb",
     lambda: zipped({"a.txt": bytes(range(256)) * 100_000}, zipfile.ZIP_STORED))  # fmt: skip
case("lying.zip", "zip_damaged", lying_size)
case("many.zip", "zip_too_many_entries", lambda: zipped(MANY))
case("traversal.zip", "zip_unsafe_path", lambda: zipped({"../../etc/cron.d/x.txt": b"words"}))
case("backslash.zip", "zip_unsafe_path", lambda: zipped({"a\\..\\..\\x.txt": b"words"}))
case("absolute.zip", "zip_unsafe_path", lambda: zipped({"/etc/x.txt": b"words"}))
case("drive.zip", "zip_unsafe_path", lambda: zipped({"C:\\x.txt": b"words"}))
case("link.zip", "zip_symlink", link)
case("encrypted.zip", "zip_encrypted", flagged_encrypted)
case("cut.zip", "zip_damaged", lambda: zipped({"a.txt": b"words" * 999})[:40])
case("changed.zip", "zip_damaged", lambda: stored(b"right words").replace(b"right", b"wrong"))
case("nested.zip", "zip_nested", lambda: zipped({"in.zip": zipped({"a.txt": b"words"})}))
case("hidden-only.zip", "zip_empty", lambda: zipped({"__MACOSX/._a.txt": b"x", ".git/a": b"x"}))
case("no-files.zip", "zip_empty", lambda: zipped({}))
case("text-called.zip", "zip_damaged", b"Just words, no archive.")
