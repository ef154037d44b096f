import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.lexical.tokenizer import LONGEST_TERM, has_cjk, tokenize


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("  \n\t", []),
        ("!?…—", []),
        ("Hello, World!", ["hello", "world"]),
        ("Café Grüße naïve", ["cafe", "grusse", "naive"]),
        ("cafe\u0301", ["cafe"]),
        ("ＤＯＣＫＥＲ　１２３", ["docker", "123"]),
        ("解压", ["解压"]),
        ("解压文件", ["解压", "压文", "文件"]),
        ("解", ["解"]),
        ("解压，文件", ["解压", "文件"]),
        ("用docker列出容器", ["用", "docker", "列出", "出容", "容器"]),
        ("ひらがな", ["ひら", "らが", "がな"]),
        ("한국어", ["한국", "국어"]),
        ("--strip-components", ["--strip-components", "strip-components", "strip", "components"]),
        ("-xf", ["-xf", "xf"]),
        ("snake_case_name", ["snake_case_name", "snake", "case", "name"]),
        ("camelCaseName", ["camelcasename", "camel", "case", "name"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("v1.2.3", ["v1.2.3", "v1", "2", "3"]),
        ("C++ and C#", ["c++", "and", "c#"]),
        ("file.tar.gz.", ["file.tar.gz", "file", "tar", "gz"]),
        ("end-", ["end"]),
        ("0", ["0"]),
        ("ﬁle", ["file"]),
        ("…tar…", ["tar"]),
    ],
)
def test_a_text_becomes_these_terms(text, terms):
    assert tokenize(text) == terms


@pytest.mark.parametrize("word", ["解压", "归档文件", "列出所有容器"])
def test_a_chinese_word_is_found_inside_a_longer_run(word):
    assert set(tokenize(word)) <= set(tokenize(f"如何{word}到目录"))


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("DOCKER", "docker"),
        ("café", "CAFE"),
        ("strip-components", "tar --strip-components 1"),
        ("strip components", "--strip-components"),
        ("getUserName", "get user name"),
        ("ｔａｒ", "tar"),
        ("ſ", "s"),
    ],
)
def test_what_is_asked_meets_what_is_written(asked, written):
    assert set(tokenize(asked)) & set(tokenize(written))


def test_a_term_is_repeated_as_often_as_it_occurs():
    assert tokenize("tar tar tar").count("tar") == 3


def test_data_is_no_word():
    assert tokenize("x" * (LONGEST_TERM + 1) + " tar") == ["tar"]
    assert tokenize("x" * LONGEST_TERM) == ["x" * LONGEST_TERM]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker", False),
        ("", False),
        ("用docker", True),
        ("カタカナ", True),
        ("한", True),
        ("é", False),
    ],
)
def test_it_knows_chinese_japanese_and_korean(text, expected):
    assert has_cjk(text) is expected


@given(st.text(max_size=200))
def test_any_text_gives_terms_without_blanks(text):
    for term in tokenize(text):
        assert term
        assert not any(character.isspace() for character in term)
        assert "\0" not in term


@given(st.text(alphabet="解压文件到目录列出", min_size=2, max_size=20))
def test_chinese_terms_are_never_longer_than_two(text):
    terms = tokenize(text)
    assert {len(term) for term in terms} == {2}
    assert len(terms) == len(text) - 1
