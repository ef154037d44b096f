"""One contract for whatever database is configured: SQLite, and PostgreSQL where
tests/test_postgres.py runs this module again."""

import os

import pytest
from django.core.management import call_command
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.lexical import lexical_index, tokenize
from retrieval.lexical.weights import ceiling, idf
from retrieval.models import Chunk
from retrieval.types import LexicalEntry

pytestmark = pytest.mark.django_db

SCOPE = "c900001xa"
OTHER = "c900001xb"

NASTY = [
    '"', "'", "\\", "''", '""', "\\'", "'; DROP TABLE retrieval_lexical; --", "a AND b", "OR",
    "NOT", "NEAR(a b)", "a NEAR/2 b", "title:docker", "{title} : docker", "-docker", "+docker",
    "docker*", "^docker", "(docker", "docker)", "scope : c1", "a & b", "a | b", "!a", "a <-> b",
    "a:*", "a:A", "%s", "%(query)s", "{0}", "$1", "?", "\x00", "a\x00b", "\ud800", "🚀", "\u202e",
    "--", "---", "- - -", "#", "c#", "c++", "....", "'a' | 'b'", "a\\", "\\'a", "١٢٣", "²³",
    "ǅ", "ß", "İ", "\u0301", "a\u0301\u0302", "a-\u0301-b", "a.\u0301", "ꙮ", "𞤀", "𐐀", "ᏸ",
    "\u1c80", "ㅤ", "㍿", "a" * 5000, "word " * 2000,
]  # fmt: skip


def entry(number, body, title="", headings=""):
    return LexicalEntry(chunk_id=900_000_000 + number, title=title, headings=headings, body=body)


def add(*entries, scope=SCOPE):
    lexical_index().add(scope, list(entries))


def found(query, k=10, scope=SCOPE, within=None):
    hits = lexical_index().search(scope, query, k, within)
    return [hit.chunk_id - 900_000_000 for hit in hits]


@pytest.fixture
def tools():
    add(
        entry(1, "Extract an archive into a directory.", "tar"),
        entry(2, "List running containers.", "docker ps"),
        entry(3, "解压归档文件到指定目录。", "ark"),
        entry(4, "Strip leading components: tar --strip-components=1", "tar options"),
        entry(5, "Nothing of the kind.", "unrelated"),
    )


def test_it_finds_words_wherever_they_stand(tools):
    assert found("containers") == [2]
    assert found("docker") == [2]


def test_case_and_accents_do_not_matter(tools):
    assert found("CÓNTAINERS") == [2]


def test_chinese_words_of_two_characters_are_found(tools):
    assert found("解压") == [3]
    assert found("如何解压归档") == [3]


def test_a_single_chinese_character_between_others_finds_nothing_wrong(tools):
    assert found("龘") == []


@pytest.mark.parametrize("query", ["--strip-components", "strip-components", "strip_components"])
def test_options_are_found_whole_and_in_parts(tools, query):
    assert found(query)[0] == 4


def test_one_word_of_many_is_enough_and_more_are_better(tools):
    ranked = found("extract an archive with docker")
    assert ranked[0] == 1
    assert 2 in ranked


def test_what_occurs_nowhere_finds_nothing(tools):
    assert found("zebra") == []
    assert found("") == []
    assert found("!!! ???") == []


def test_k_limits_the_answer(tools):
    add(*(entry(n, "the same word again") for n in range(10, 40)))
    assert len(found("word", k=7)) == 7


def test_rare_words_weigh_more_than_common_ones():
    add(*(entry(n, "backup of the server") for n in range(1, 20)))
    add(entry(20, "backup of the zebra"))
    assert found("backup zebra")[0] == 20


def test_more_mentions_and_shorter_texts_rank_higher():
    filler = "some other words that say nothing about the matter at hand " * 4
    add(
        entry(1, f"backup {filler}"),
        entry(2, f"backup backup backup {filler}"),
        entry(3, "backup"),
        *(entry(n, filler) for n in range(10, 20)),
    )
    ranked = found("backup")
    assert ranked.index(2) < ranked.index(1)
    assert ranked.index(3) < ranked.index(1)


def test_the_title_counts_most_then_headings_then_the_body():
    add(
        entry(1, "backup of many things", "one", "other"),
        entry(2, "copies of many things", "one", "backup"),
        entry(3, "copies of many things", "backup", "other"),
        *(entry(n, "copies of many things", "one", "other") for n in range(10, 20)),
    )
    assert found("backup") == [3, 2, 1]


def test_scores_lie_between_zero_and_one_and_fall(tools):
    hits = lexical_index().search(SCOPE, "extract archive tar components", 10)
    scores = [hit.score for hit in hits]
    assert len(scores) >= 2
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    assert all(hit.bm25 > 0 for hit in hits)


def test_a_text_of_nothing_but_the_words_scores_high_and_half_of_them_lower():
    add(entry(1, "restore backup", "restore backup", "restore backup"))
    add(*(entry(n, f"something else {n}") for n in range(10, 60)))
    (full,) = lexical_index().search(SCOPE, "restore backup", 5)
    (half,) = lexical_index().search(SCOPE, "restore unheardof", 5)
    assert full.score > 0.7
    assert half.score < full.score * 0.7


def test_a_scope_sees_only_its_own(tools):
    add(entry(50, "Containers of another collection."), scope=OTHER)
    assert found("containers") == [2]
    assert found("containers", scope=OTHER) == [50]
    assert found("archive", scope=OTHER) == []
    assert found("containers", scope="c900001x") == []


def test_a_text_cannot_pretend_to_be_of_another_scope():
    add(entry(1, f"secret {OTHER}", OTHER, OTHER))
    assert found("secret", scope=OTHER) == []
    assert found(OTHER, scope=OTHER) == []


def test_what_was_removed_is_not_found(tools):
    lexical_index().remove([900_000_002])
    assert found("containers") == []
    assert found("archive") == [1]


def test_removing_what_is_not_there_is_no_error(tools):
    lexical_index().remove([])
    lexical_index().remove([1, 2, 3, 900_000_999])
    assert found("containers") == [2]


def test_removing_thousands_at_once_works():
    add(*(entry(n, "word") for n in range(3000)))
    lexical_index().remove([900_000_000 + n for n in range(2999)])
    assert found("word") == [2999]


def test_the_same_chunk_can_be_added_again_after_its_removal(tools):
    lexical_index().remove([900_000_002])
    add(entry(2, "List stopped machines."))
    assert found("machines") == [2]
    assert found("containers") == []


def test_within_keeps_to_the_given_documents(add):
    first = add("one.md", "# One\n\nA backup of the server.")
    second = add("two.md", "# Two\n\nA backup of the laptop.")
    collection = first.collection
    collection.refresh_from_db()

    def documents(within):
        hits = lexical_index().search(collection.live_index.scope, "backup", 10, within)
        chunks = Chunk.objects.in_bulk([hit.chunk_id for hit in hits])
        return {chunk.document_id for chunk in chunks.values()}

    assert documents(None) == {first.pk, second.pk}
    assert documents([second.pk]) == {second.pk}
    assert documents([]) == set()
    assert documents([second.pk, *range(10**9, 10**9 + 50_000)]) == {second.pk}


@pytest.mark.parametrize("query", NASTY, ids=range(len(NASTY)))
def test_no_query_can_break_the_syntax(tools, query):
    for hit in lexical_index().search(SCOPE, query, 5):
        assert 0 <= hit.score <= 1
    for hit in lexical_index().search(SCOPE, f"docker {query}", 5):
        assert 0 <= hit.score <= 1
    assert found("archive") == [1]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_any_text_can_be_indexed_beside_its_words(text):
    add(entry(1, f"{text} findable", text[:500], text[:500]))
    assert found("findable") == [1]


def test_operators_are_words_like_others(tools):
    assert found("docker NOT containers") == [2]
    assert found("archive AND zebra") == [1]


#: Pieces that mean something to FTS5, to tsquery, to a driver, or to our own tokeniser.
PIECES = [
    *NASTY[:-2], *"\"'\\|&!()<>:*^+-_.#%{}[]$?,;~@=/\0\n\t ", "docker", "tar", "AND", "OR", "NOT",
    "NEAR", "解压", "解", "ｆｕｌｌ", "ﬁ", "İ", "é", "e\u0301", "\udfff", "👩\u200d👧", "\ufeff",
    "\U0010ffff",
]  # fmt: skip
ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=[]), max_size=60)


@settings(max_examples=300)
@given(query=ANY_TEXT | st.lists(st.sampled_from(PIECES) | ANY_TEXT, max_size=12).map("".join))
def test_any_query_is_answered(tools, query):
    for hit in lexical_index().search(SCOPE, query, 3):
        assert 0 <= hit.score <= 1
    lexical_index().search(SCOPE, query, 3, [1])


@settings(max_examples=20)
@given(st.sampled_from(PIECES) | st.characters(exclude_categories=[]))
def test_a_query_may_have_ten_thousand_characters(tools, piece):
    query = (piece * (10_000 // len(piece) + 1))[:10_000]
    lexical_index().search(SCOPE, query, 3)
    lexical_index().search(SCOPE, f"containers {query}", 3)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(PIECES) | ANY_TEXT, max_size=12).map("".join))
def test_any_text_is_indexed(text):
    lexical_index().remove([900_000_001])
    add(entry(1, text, text, text))
    terms = tokenize(text)
    if terms:
        assert found(max(terms, key=len)) == [1]


@settings(max_examples=100)
@given(
    st.text(
        alphabet=st.characters(codec="utf-8", exclude_characters="\0", categories=["L", "N"]),
        min_size=1,
        max_size=12,
    )
)
def test_what_was_indexed_is_found_by_itself(tools, word):
    """Also letters that the database's own tokeniser has never heard of."""
    number = 700
    lexical_index().remove([900_000_000 + number])
    add(entry(number, word))
    if tokenize(word):
        assert number in found(word)


def test_it_is_the_index_of_the_configured_database():
    asked_for = os.environ.get("TEST_DATABASE_URL", "sqlite:").split(":")[0]
    assert connection.vendor == {"sqlite": "sqlite"}.get(asked_for, "postgresql")
    expected = {"sqlite": "SqliteLexicalIndex", "postgresql": "PostgresLexicalIndex"}
    assert type(lexical_index()).__name__ == expected[connection.vendor]


@pytest.mark.parametrize(("total", "count"), [(0, 0), (1, 1), (10, 10), (10, 6)])
def test_a_word_that_most_texts_hold_weighs_next_to_nothing(total, count):
    assert 0 < idf(total, count) <= 1e-6


def test_the_ceiling_grows_with_the_rarity_of_the_words():
    assert ceiling(100, [1]) > ceiling(100, [20]) > 0
    assert ceiling(100, [1, 1]) == pytest.approx(2 * ceiling(100, [1]))
    assert ceiling(0, []) > 0


def test_chunks_are_listed_that_hold_every_word():
    add(entry(1, "Extract an archive."), entry(2, "Archive the tar file.", "docker"))
    add(entry(3, "Extract another archive."), scope=OTHER)

    def listed(text, k=10, scope=""):
        return {number - 900_000_000 for number in lexical_index().find(text, k, scope)}

    assert listed("archive") == {1, 2, 3}
    assert listed("ARCHIVE extract") == {1, 3}
    assert listed("archive extract", scope=SCOPE) == {1}
    assert listed("docker archive") == {2}
    assert len(listed("archive", k=2)) == 2
    assert listed("archive nothing") == listed("") == listed("…") == set()


@pytest.mark.parametrize("text", NASTY)
def test_no_text_breaks_the_list_of_chunks(text):
    lexical_index().find(text, 10)
    lexical_index().find(text, 10, SCOPE)


# --- Emptied tables ----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_flush_leaves_no_words_of_chunks_that_are_gone():
    add(entry(1, "zebra"))
    call_command("flush", interactive=False, verbosity=0)
    assert found("zebra") == []
    add(entry(1, "giraffe"))  # the key is free again
    assert found("giraffe") == [1]


def test_a_migration_keeps_the_words_of_chunks_that_are_there(request):
    request.getfixturevalue("add")("a.md", "The zebra sleeps.")
    call_command("migrate", interactive=False, verbosity=0)
    assert lexical_index().find("zebra", 10) == [Chunk.objects.get().pk]
