import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.exceptions import KnowledgeBaseError, NoText, UndecodableText, UnsupportedFormat
from retrieval.parsers import is_supported, parse
from retrieval.parsers.text import decode

CHINESE = "把文件解压到指定的目录，然后查看里面的内容。"


@pytest.mark.parametrize(
    "data",
    [
        "Grüße aus 北京".encode(),
        codecs.BOM_UTF8 + "Grüße aus 北京".encode(),
        codecs.BOM_UTF16_LE + "Grüße aus 北京".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "Grüße aus 北京".encode("utf-16-be"),
    ],
    ids=["utf-8", "utf-8 with a mark", "utf-16 little", "utf-16 big"],
)
def test_it_reads_every_unicode_encoding(data):
    assert decode(data) == "Grüße aus 北京"


def test_it_reads_chinese_from_windows():
    assert decode(CHINESE.encode("gb18030")) == CHINESE


def test_it_reads_chinese_with_commands_from_windows():
    text = f"# tar\n\n{CHINESE}\n\n`tar -xf file.tar -C dir`\n"
    assert decode(text.encode("gb18030")) == text


@pytest.mark.parametrize(
    "data",
    [
        "naïve café à la carte".encode("latin-1"),
        "Привет, как дела".encode("cp1251"),
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
        b"plain, then \xff\xfe\xfd",
        b"\x00" * 20,
    ],
    ids=["latin-1", "cyrillic", "png", "stray bytes", "zeros"],
)
def test_it_refuses_to_guess(data):
    with pytest.raises(UndecodableText) as caught:
        decode(data)
    assert "UTF-8" in caught.value.message


def test_a_broken_utf_16_file_is_named_as_such():
    with pytest.raises(UndecodableText, match="UTF-16-LE"):
        decode(codecs.BOM_UTF16_LE + b"\x00\xd8\x41\x00")


def test_line_ends_become_newlines():
    assert decode(b"one\r\ntwo\rthree\nfour") == "one\ntwo\nthree\nfour"


def test_a_text_file_is_called_by_its_name():
    parsed = parse("notes/Opening hours.TXT", b"Nine to five.")
    assert (parsed.title, parsed.text, parsed.metadata) == ("Opening hours", "Nine to five.", {})


@pytest.mark.parametrize("data", [b"", b" \n\t\n", b"---\n", b"***\n\n- \n", codecs.BOM_UTF8])
@pytest.mark.parametrize("filename", ["a.txt", "a.md"])
def test_no_text_is_a_failure(filename, data):
    with pytest.raises(NoText):
        parse(filename, data)


@pytest.mark.parametrize("filename", ["tool.exe", "README", "page.md.png", ".md"])
def test_an_unknown_kind_is_refused_with_those_that_are_known(filename):
    assert not is_supported(filename)
    with pytest.raises(UnsupportedFormat, match=r"\.md"):
        parse(filename, b"text")


@pytest.mark.parametrize("filename", ["a.md", "A.MD", "dir/b.Markdown", "c.txt"])
def test_the_ending_decides_whatever_its_case(filename):
    assert is_supported(filename)


@given(st.binary(max_size=300), st.sampled_from(["a.md", "a.txt"]))
def test_any_bytes_are_read_or_refused_with_a_sentence(data, filename):
    try:
        parsed = parse(filename, data)
    except KnowledgeBaseError as error:
        assert error.message.endswith((".", "one.")) or ":" in error.message
    else:
        parsed.text.encode()  # no lone surrogate that no database takes
        assert "\r" not in parsed.text
        assert "\0" not in parsed.text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\0\ufeff")))
def test_utf_8_comes_back_as_it_was(text):
    assert decode(text.encode()) == text
