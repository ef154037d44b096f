"""What ends an answer: which sources are shown, and how they are written."""

import pytest

from plugin.gateway import answers
from plugin.gateway.context import Passage, cut, tokens_in, within
from retrieval.types import Hit


def hit(number: int, text: str = "text", title: str = "", url: str = "") -> Hit:
    title = title or f"Title {number}"
    return Hit(number, 0.9, number, number, f"{number}.md", title, (), text, url, {}, None, None)


PASSAGES = [Passage(number, hit(number), "text") for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("So it is [2].", [2]),
        ("So [1] and so [3].", [1, 3]),
        ("So it is [1, 2].", [1, 2]),
        ("是这样【3】。", [3]),
        ("So it is [2†source].", [2]),
        ("Nothing is cited.", [1, 2, 3]),
        ("It cites what is not there [7].", [1, 2, 3]),
        ("Use `list[2]` as in [1].", [1]),
        ("```\nx = rows[3]\n```\nSee [2].", [2]),
    ],
)
def test_cited_sources_are_shown_or_all(answer, shown):
    assert [passage.number for passage in answers.cited(PASSAGES, answer)] == shown


def test_titles_and_addresses_cannot_break_out_of_their_link():
    title = "A [b](http://evil.example) *c*\n\n# d <script>"
    link = answers._link(title, "https://a.example/x y_(z)?q=%20#f")
    text, _, url = link.rpartition("](")
    assert url == "https://a.example/x%20y_%28z%29?q=%20#f)"
    assert text == "[A \\[b\\](http://evil.example) \\*c\\* # d \\<script\\>"


def test_a_footer_is_found_again_in_an_earlier_answer():
    text = "Use tar [1].\n\nOr zip.\n\n---\n\nMore."
    footer = "\n\n---\n**Sources**\n\n- [1] [T](u)\n\nDid this help? [👍 Yes](a) · [👎 No](b)"
    assert answers.without_footer(text + footer) == text
    chinese = (
        "\n\n---\n_知识库中没有与这个问题有关的内容。_\n\n有帮助吗？ [👍 有](a) · [👎 没有](b)"
    )
    assert answers.without_footer("答" + chinese) == "答"
    assert answers.without_footer(text) == text


# --- Passages within a budget --------------------------------------------------------------------


def test_tokens_are_counted_by_script():
    assert tokens_in("四个汉字") == 4
    assert tokens_in("a" * 35) == 10


def test_passages_that_do_not_fit_are_cut_or_left_out():
    hits = [hit(1, "One is here. " * 20), hit(2, "Two is here. " * 40), hit(3)]
    kept = within(hits, 150)
    assert [passage.number for passage in kept] == [1, 2]
    assert kept[0].text == hits[0].text.strip()
    assert kept[1].text.endswith("here. …".replace(". …", ". …"))
    assert sum(tokens_in(passage.text) for passage in kept) <= 150


def test_a_first_passage_that_is_too_long_is_cut_not_dropped():
    kept = within([hit(1, "长" * 5000)], 100)
    assert 40 <= tokens_in(kept[0].text) <= 100


def test_a_cut_comes_after_a_sentence():
    assert cut("First one is here. Second one is here. Third one is here.", 12) == (
        "First one is here. Second one is here. …"
    )
