"""An accepted answer is found by what its questions are about, not by their being questions."""

import pytest

from retrieval import aliases
from retrieval.feedback.acceptance import as_markdown
from retrieval.likeness import topic
from retrieval.models import Document
from retrieval.search import search
from retrieval.types import SearchRequest


@pytest.mark.parametrize(
    ("question", "about"),
    [
        ("What is a twin prime?", "What is a twin prime?"),
        ("POWER6什么时候推出的？", "POWER6 推出的？"),
        ("牡蒿分布在哪些省市？", "牡蒿分布在 省市？"),
        ("会计的对象是什么", "会计的对象是"),
        ("什么？", "什么？"),
        ("", ""),
    ],
)
def test_a_question_is_cut_down_to_its_topic(question, about):
    assert topic(question) == about


@pytest.mark.django_db
def test_the_form_of_a_question_finds_no_answer(collection, add):
    accepted = ["在中国，牡蒿分布在哪些省市？", "牡蒿在中国的哪些省市有分布？"]
    page = (
        "六耳铃是菊科的多年生草本植物，茎直立，多分枝，叶片呈长圆形，边缘有细锯齿，花期在冬春之间。"
        "它生长于云南、广西和广东的山坡与草地，海拔不超过一千米，当地人用它的全草入药。"
    )
    add("page.md", page, index=False)
    add("answers/1.md", as_markdown(accepted, "云南、四川和西藏。").decode(), index=False)
    for number in range(6):
        add(f"{number}.md", f"第{number}种草本植物分布在山坡上，花期在夏天。", index=False)
    aliases.create(Document.objects.get(external_id="answers/1.md"), accepted, "云南、四川和西藏。")
    add("last.md", "完。")

    def first(question: str) -> str:
        return search(SearchRequest(question, "docs", is_logged=False)).hits[0].external_id

    assert first("六耳铃分布在哪些地区？") == "page.md"
    for question in (*accepted, "哪些省市有牡蒿分布"):
        assert first(question) == "answers/1.md"
