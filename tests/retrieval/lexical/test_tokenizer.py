import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.lexical.tokenizer import LONGEST_TERM, spans, tokenize


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
        ("a--b", ["a--b", "a", "b"]),
        ("a-\u0301-b", ["a--b", "a", "b"]),
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


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("Extract an archive.", "archive", ["archive"]),
        ("Docker docker DOCKER", "docker", ["Docker", "docker", "DOCKER"]),
        ("dockerfile", "docker", []),
        ("Extract an archive.", "zebra", []),
        ("Extract an archive.", "", []),
        ("", "archive", []),
        ("Le Café, cafe\u0301 et CAFE", "café", ["Café", "cafe\u0301", "CAFE"]),
        ("die Straße", "STRASSE", ["Straße"]),
        # Chinese, alone and among Latin
        ("如何解压归档文件", "解压", ["解压"]),
        ("如何解压归档文件", "解压归档", ["解压归档"]),
        ("解压文件，解压目录", "解压", ["解压", "解压"]),
        ("解压，归档", "解压归档", ["解压", "归档"]),
        ("解压文件", "文档", []),
        ("解，压", "解", ["解"]),
        ("解压", "解", []),
        ("用docker列出容器", "docker 容器", ["docker", "容器"]),
        ("用docker容器", "docker容器", ["docker容器"]),
        ("ひらがな한국어", "らが 국어", ["らが", "국어"]),
        # Identifiers, whole and in parts
        ("tar --strip-components=1", "--strip-components", ["--strip-components"]),
        ("tar --strip-components=1", "strip-components", ["strip-components"]),
        ("tar --strip-components=1", "components", ["components"]),
        ("snake_case_name", "case", ["case"]),
        ("snake_case_name", "snake_case_name", ["snake_case_name"]),
        ("getUserName()", "user name", ["UserName"]),
        ("getUserName()", "get name", ["get", "Name"]),
        ("HTTPServer", "server", ["Server"]),
        ("file.tar.gz.", "tar", ["tar"]),
        ("v1.2.3.", "v1.2.3", ["v1.2.3"]),
        ("C++ or C#", "c++", ["C++"]),
        # Where normalisation changes the length, offsets are those of the text as it was given
        ("use ＤＯＣＫＥＲ　ｐｓ now", "docker now", ["ＤＯＣＫＥＲ", "now"]),
        ("oﬃce ﬁle x", "file x", ["ﬁle", "x"]),
        ("oﬃce ﬁle x", "office", ["oﬃce"]),
        ("㍿の規則", "会社", ["㍿"]),
        ("㍿の規則", "社の", ["㍿の"]),
        ("½ cup", "2 cup", ["½", "cup"]),
        ("ﾊﾟｿｺﾝと", "パソコン", ["ﾊﾟｿｺﾝ"]),
        ("\u1112\u1161\u11ab국", "한국", ["\u1112\u1161\u11ab국"]),
        ("a\u0323\u0302 b", "ậ b", ["a\u0323\u0302", "b"]),
        ("10 ㎒Band", "hz", ["㎒Band"]),
        ("🚀 tar 🚀", "tar", ["tar"]),
        ("a\ud800tar", "tar", ["tar"]),
    ],
)
def test_what_a_query_finds_in_a_text_is_marked(text, query, marked):
    assert [text[start:end] for start, end in spans(text, tokenize(query))] == marked


def test_nothing_is_marked_for_no_terms():
    assert spans("docker", []) == []
    assert spans("docker", {""}) == []


def test_terms_are_taken_as_they_are():
    """Folding a query is the tokeniser's work."""
    assert spans("Docker", ["Docker"]) == []
    assert spans("Docker", ("docker",)) == [(0, 6)]


ODD = (
    "aAbBzß19-_.+# \n\0解压文件かﾊＡ㎒㍿½…℀Ⅱǅİſﬁé🚀क़"
    "\u0301\u0323\u1ab0\u3099\uff9f\u1112\u1161\u11ab\ud800"
)
AWKWARD = st.sampled_from(ODD) | st.characters(exclude_categories=[])


@given(st.lists(AWKWARD, max_size=30).map("".join), st.data())
def test_a_span_holds_a_term_and_stands_apart(text, data):
    every = tokenize(text)
    terms = data.draw(st.lists(st.sampled_from(every), max_size=3)) if every else ["a"]
    found = spans(text, terms)
    assert bool(found) == bool(set(terms) & set(every))
    behind = -1
    for start, end in found:
        assert behind < start < end <= len(text)
        assert set(tokenize(text[start:end])) & set(terms), (text, terms, text[start:end])
        behind = end


@given(st.lists(AWKWARD, max_size=30).map("".join))
def test_all_terms_together_mark_every_word(text):
    marked = spans(text, tokenize(text))
    rest = list(text)
    for start, end in reversed(marked):
        rest[start:end] = " "
    assert tokenize("".join(rest)) == []
