import re
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from retrieval.chunking import Chunker, find_headings, heading_paths, without_markup

PROSE = (
    "A backup is a copy of data that is kept somewhere else. It helps when a disk fails, when "
    "somebody deletes a file by mistake, or when a machine is stolen. Test it now and then. "
)


@pytest.fixture(scope="module")
def tokenizer(bundle):
    return Tokenizer.from_file(str(bundle.tokenizer_path))


@pytest.fixture(scope="module")
def chunker(tokenizer):
    def make(size=64, overlap=0, max_tokens=256):
        return Chunker(tokenizer, size=size, overlap=overlap, max_tokens=max_tokens)

    return make


def check_laws(chunker, text, slices, title=""):
    """What holds for every text and every size."""
    assert [piece.order for piece in slices] == list(range(len(slices)))
    for piece in slices:
        assert piece.text == text[piece.start : piece.end]
        assert piece.start < piece.end
        assert piece.embedding_text.endswith(without_markup(piece.text))
        real = len(chunker.tokenizer.encode(piece.embedding_text).ids)
        assert piece.token_count == real <= chunker.limit
    starts = [piece.start for piece in slices]
    assert starts == sorted(starts)


def words_of(text):
    return set(re.findall(r"\w+", text))


def test_a_short_text_is_one_chunk(chunker):
    text = "# Backups\n\nCopy the data folder every night.\n"
    (piece,) = chunker().split(text, "Backups")
    assert piece.heading_path == ("Backups",)
    assert "Copy the data folder" in piece.text


def test_slices_are_exact_ordered_and_within_the_limit(chunker):
    text = "# Backups\n\n" + "\n\n".join(f"## Part {n}\n\n{PROSE * (n % 4 + 1)}" for n in range(12))
    cutter = chunker(64)
    slices = cutter.split(text, "Backups")
    assert len(slices) > 12
    check_laws(cutter, text, slices)


@pytest.mark.parametrize("size", [16, 32, 64, 240, 5000])
def test_no_word_is_lost_at_any_size(chunker, size):
    text = f"Introduction first.\n\n# One\n\n{PROSE * 5}\n\n## Two\n\n* {PROSE}\n* {PROSE}\n"
    cutter = chunker(size)
    slices = cutter.split(text, "Notes")
    check_laws(cutter, text, slices)
    covered = "".join(
        character if any(piece.start <= position < piece.end for piece in slices) else " "
        for position, character in enumerate(text)
    )
    headings = " ".join(" ".join(piece.heading_path) for piece in slices)
    missing = words_of(text) - words_of(covered) - words_of(headings)
    assert not missing


def test_the_model_limit_wins_over_a_larger_chunk_size(chunker):
    cutter = chunker(5000, max_tokens=40)
    slices = cutter.split(PROSE * 20, "Backups")
    check_laws(cutter, PROSE * 20, slices)
    assert all(piece.token_count <= 40 for piece in slices)


def test_a_long_title_and_deep_headings_stay_within_their_share(chunker):
    cutter = chunker(32)
    title = "An extraordinarily long title that by itself would fill a whole chunk " * 4
    text = "".join(f"{'#' * level} Heading {level} {PROSE}\n\n" for level in range(1, 7)) + PROSE
    slices = cutter.split(text, title)
    check_laws(cutter, text, slices)
    assert slices


def test_a_code_fence_stays_whole_where_it_fits(chunker):
    code = "```sh\n" + "\n".join(f"tar -xf archive{n}.tar" for n in range(3)) + "\n```"
    text = f"# tar\n\n{PROSE}\n\n{code}\n\n{PROSE}\n"
    slices = chunker(80).split(text, "tar")
    assert len(slices) > 1
    assert sum(code in piece.text for piece in slices) == 1


def test_a_code_fence_that_does_not_fit_is_still_cut_to_the_limit(chunker):
    text = "```\n" + "\n".join(f"line {n} of a long program" for n in range(200)) + "\n```\n"
    cutter = chunker(48)
    slices = cutter.split(text, "program")
    check_laws(cutter, text, slices)
    assert "line 0 of" in slices[0].text
    assert "line 199 of" in slices[-1].text


@pytest.mark.parametrize("fence", ["```", "~~~", "````"])
def test_a_hash_inside_a_fence_is_no_heading(fence):
    text = f"# Real\n\n{fence}sh\n# install it\n## really\n{fence}\n\n## Also real\n"
    assert [heading.text for heading in find_headings(text)] == ["Real", "Also real"]


def test_a_hash_in_indented_code_or_a_quote_is_no_heading():
    text = "# Real\n\ntext\n\n    # code\n\n> # quoted\n"
    assert [heading.text for heading in find_headings(text)] == ["Real"]


def test_underlined_headings_count():
    text = "Title\n=====\n\ntext\n\nPart\n----\n\nmore\n"
    assert [(heading.level, heading.text) for heading in find_headings(text)] == [
        (1, "Title"),
        (2, "Part"),
    ]


def test_headings_know_their_place_in_the_text():
    text = "intro\n\n# One `code`\n\ntext\n\n## Two\nmore"
    one, two = find_headings(text)
    assert text[one.start : one.end] == "# One `code`\n"
    assert one.text == "One code"
    assert text[two.start : two.end] == "## Two\n"


def test_unusual_line_separators_do_not_shift_offsets():
    text = "one\u2028two\x0bthree\x85four\n\n# Heading\n\ntext"
    (heading,) = find_headings(text)
    assert text[heading.start : heading.end] == "# Heading\n"


def test_paths_follow_the_levels():
    text = "# A\n## B\n### C\n## D\n# E\n### F\n## G\n"
    assert heading_paths(find_headings(text)) == [
        ("A",), ("A", "B"), ("A", "B", "C"), ("A", "D"), ("E",), ("E", "F"), ("E", "G"),
    ]  # fmt: skip


def test_every_chunk_knows_its_own_section(chunker):
    text = "".join(f"# Chapter {n}\n\n## Part {n}\n\nword{n} {PROSE}\n\n" for n in range(6))
    slices = chunker(64).split(text, "Book")
    assert slices[0].heading_path[0] == "Chapter 0"
    for n in range(6):
        holder = next(piece for piece in slices if f"word{n} " in piece.text)
        assert holder.heading_path in {(f"Chapter {n}",), (f"Chapter {n}", f"Part {n}")}
        assert f"Chapter {n}" in holder.embedding_text
        assert f"Part {n}" in holder.embedding_text


def test_text_above_the_first_heading_has_no_path(chunker):
    text = f"{PROSE}\n\n# One\n\n{PROSE}"
    first, *rest = chunker(70).split(text, "Notes")
    assert first.heading_path == ()
    assert rest[-1].heading_path == ("One",)


def test_a_piece_of_only_headings_is_folded_into_the_next(chunker):
    text = f"# Manual\n\n## Chapter\n\n### Part\n\n{PROSE * 3}"
    slices = chunker(48).split(text, "Manual")
    for piece in slices:
        assert [line for line in piece.text.splitlines() if line and not line.startswith("#")]
    assert slices[0].heading_path[0] == "Manual"
    assert "Part" in slices[0].embedding_text


def test_a_document_of_only_headings_still_has_a_chunk(chunker):
    slices = chunker().split("# Lonely heading\n", "Lonely heading")
    assert [piece.text.strip() for piece in slices] == ["# Lonely heading"]


def test_a_title_that_the_piece_opens_with_is_not_said_twice(chunker):
    (piece,) = chunker().split("# tar\n\nExtract files.\n", "tar")
    assert piece.embedding_text.count("tar") == 1


def test_the_title_gives_context_to_every_other_piece(chunker):
    slices = chunker(64).split(f"{PROSE * 6}", "Disaster plan")
    assert len(slices) > 1
    assert all(piece.embedding_text.startswith("Disaster plan\n\n") for piece in slices)


def test_neighbours_share_what_overlap_asks_for(chunker):
    text = " ".join(f"Sentence number {n} says something." for n in range(80))
    apart = chunker(64, overlap=0).split(text, "")
    shared = chunker(64, overlap=24).split(text, "")
    assert all(left.end <= right.start for left, right in pairwise(apart))
    overlaps = [left.end - right.start for left, right in pairwise(shared)]
    assert sum(overlap > 0 for overlap in overlaps) > len(overlaps) * 0.8
    check_laws(chunker(64, overlap=24), text, shared)


def test_an_overlap_larger_than_the_chunk_is_survived(chunker):
    cutter = chunker(16, overlap=500)
    check_laws(cutter, PROSE * 3, cutter.split(PROSE * 3, "Backups"))


@pytest.mark.parametrize("text", ["", "\n\n \t\n", "---\n\n***\n", "!!! ... ???"])
def test_nothing_to_say_gives_no_chunk(chunker, text):
    assert chunker().split(text, "Title") == []


def test_chinese_text_is_cut_within_the_limit_and_nothing_is_lost(chunker):
    sentences = [f"第{n}条：请在每天晚上备份数据目录，并且检查备份是否完整。" for n in range(60)]
    text = "# 备份手册\n\n" + "".join(sentences)
    cutter = chunker(64)
    slices = cutter.split(text, "备份手册")
    check_laws(cutter, text, slices)
    joined = "".join(piece.text for piece in slices)
    assert all(sentence in joined for sentence in sentences)


def test_emoji_and_astral_characters_keep_the_offsets_right(chunker):
    text = "".join(f"Step {n} 🚀🚀 𠀀 done. " for n in range(100))
    cutter = chunker(32)
    slices = cutter.split(text, "🚀 plan")
    check_laws(cutter, text, slices)
    assert "Step 99" in slices[-1].text


def test_one_line_of_200_kilobytes_is_cut(chunker):
    text = ("word " * 40_000).strip()
    cutter = chunker(240)
    began = time.perf_counter()
    slices = cutter.split(text, "data")
    assert time.perf_counter() - began < 30
    check_laws(cutter, text, slices)
    assert sum(len(piece.text.split()) for piece in slices) == 40_000


def test_one_word_of_200_kilobytes_is_cut(chunker):
    cutter = chunker(240)
    text = "x1Y2" * 50_000
    slices = cutter.split(text, "data")
    assert "".join(piece.text for piece in slices) == text
    assert all(piece.token_count <= 240 for piece in slices)


def test_ten_thousand_headings_take_time_in_proportion(chunker):
    def seconds(count):
        text = "".join(f"## Heading {n}\n\nA line about subject {n}.\n\n" for n in range(count))
        began = time.perf_counter()
        slices = chunker(240).split(text, "Long")
        spent = time.perf_counter() - began
        assert f"subject {count - 1}." in slices[-1].text
        return spent

    seconds(200)  # warm
    half, whole = seconds(5_000), seconds(10_000)
    assert whole < half * 3.5 + 1, f"{half:.1f} s for 5,000 and {whole:.1f} s for 10,000"


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from(
            ["# A\n", "## B\n", "\n", "text here. ", "```\n", "    code\n", "---\n", "- item\n",
             "中文内容。", "| a | b |\n", "> quote\n", "Title\n===\n", "🚀", "<b>x</b>\n", "\t"]
        ),
        max_size=40,
    ),
    st.integers(16, 80),
    st.integers(0, 15),
)  # fmt: skip
def test_any_markdown_keeps_the_laws(chunker, parts, size, overlap):
    text = "".join(parts)
    cutter = chunker(size, overlap)
    check_laws(cutter, text, cutter.split(text, "Some title"))


# --- What the model reads -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# Title\n\n> A note.", "Title\n\nA note."),
        ("- one\n  * two\n+ three", "one\ntwo\nthree"),
        ("Use `tar -x` and **never** `rm`.", "Use tar -x and never rm."),
        ("See [the manual](https://example.org/a/b?c=d#e).", "See the manual."),
        ("![A chart](chart.png)", "A chart"),
        ("More: <https://docs.example.org/path/to/page.html>.", "More: docs.example.org."),
        ("见https://example.org/路径。然后继续。", "见example.org路径。然后继续。"),
        ("snake_case, __init__, 2 * 3 and a-b stay", "snake_case, __init__, 2 * 3 and a-b stay"),
        ("```", "```"),
    ],
)
def test_the_model_reads_words_and_no_markup(text, words):
    assert without_markup(text) == words
