"""What an archive gives; how it is refused is in the corpus of bad input."""

import pytest

from retrieval.exceptions import ZipBomb, ZipTooManyEntries
from retrieval.parsers import Limits, expand, is_archive
from retrieval.parsers.archive import Member
from tests.retrieval.parsers import samples


def test_it_gives_files_with_their_paths():
    data = samples.zipped({"a/b.md": b"one", "./c.txt": b"two", "d/": b""})
    assert expand(data) == [Member("a/b.md", b"one"), Member("c.txt", b"two")]


def test_hidden_files_are_left_out():
    names = ["__MACOSX/._a.md", ".git/config", "a/.DS_Store", "~$a.docx", "Thumbs.md"]
    assert [m.name for m in expand(samples.zipped(dict.fromkeys(names, b"x")))] == ["Thumbs.md"]


def test_names_from_windows_in_china_are_decoded():
    data = samples.zipped({"AAAAAAAA.md": b"words"}).replace(b"AAAAAAAA", "中文文件".encode("gbk"))
    assert [member.name for member in expand(data)] == ["中文文件.md"]


def test_names_in_utf_8_are_decoded_said_or_not():
    assert [m.name for m in expand(samples.zipped({"中文.md": b"words"}))] == ["中文.md"]
    data = samples.zipped({"AAAAAA.md": b"words"}).replace(b"AAAAAA", "中文".encode())
    assert [member.name for member in expand(data)] == ["中文.md"]


def test_office_files_inside_are_files():
    assert [m.name for m in expand(samples.zipped({"a.docx": samples.word()}))] == ["a.docx"]


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("a.zip", lambda: samples.zipped({"a": b"b"}), True),
        ("A.ZIP", lambda: b"no archive", True),
        ("a.zip", samples.word, False),
        ("a.docx", samples.word, False),
        ("a.md", lambda: samples.zipped({"a": b"b"}), False),
    ],
)
def test_an_archive_is_known_by_name_and_content(name, make, expected):
    assert is_archive(name, make()) is expected


def test_limits_count_what_really_comes_out():
    files = {f"{number}.txt": bytes(range(256)) * 40 for number in range(5)}
    with pytest.raises(ZipBomb, match="KBADMIN_MAX_ZIP_SIZE"):
        expand(samples.zipped(files), Limits(zip_bytes=50_000))
    with pytest.raises(ZipTooManyEntries, match="KBADMIN_MAX_ZIP_ENTRIES"):
        expand(samples.zipped(files), Limits(zip_entries=4))
    assert len(expand(samples.zipped(files), Limits(zip_bytes=52_000, zip_entries=5))) == 5
