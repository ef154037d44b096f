"""Answers without a language model: the sentences that match, and their sources."""

import json

import pytest
from django.test import Client

from plugin.gateway import extractive
from plugin.gateway.context import Passage
from retrieval.models import Search
from retrieval.types import Hit
from tests.plugin.gateway.conftest import events_of, said_in
from tests.plugin.gateway.test_chat import ask, content_of

TAR = "How do I extract a tar archive?"


def passage(text: str) -> Passage:
    hit = Hit(1, 0.9, 1, 1, "a.md", "A", (), text, "", {}, None, None)
    return Passage(1, hit, text)


@pytest.mark.django_db
def test_the_best_passages_answer_with_their_sources(call, pages):
    text = content_of(ask(call, TAR))
    head, _, sources = text.partition("\n---\n")
    assert head.startswith(("From the knowledge base:", "I found no certain answer."))
    assert "**Archives with tar** [1]" in head
    assert "tar -xf archive.tar" in head
    assert "docker" not in head
    assert "- [1] [Archives with tar](" in sources
    assert "👍" in sources


@pytest.mark.django_db
def test_a_stream_says_the_same(call, pages):
    whole = content_of(ask(call, TAR))
    chunks = events_of(ask(call, TAR, stream=True, stream_options={"include_usage": True}))
    assert said_in(chunks).split("\n---\n")[0] == whole.split("\n---\n")[0]
    assert chunks[-1]["usage"]["total_tokens"] > 0
    assert chunks[-2]["kbadmin"]["sources"]


@pytest.mark.django_db
def test_a_chinese_question_is_answered_in_chinese(call, pages):
    text = content_of(ask(call, "每天几点自动备份数据库？"))
    assert text.startswith(("知识库中的相关内容：", "没有找到确切的答案"))
    assert "每天凌晨两点半自动备份数据库" in text
    assert "**来源**" in text


@pytest.mark.django_db
def test_what_the_knowledge_base_does_not_know_it_says_once(call, pages):
    text = content_of(ask(call, "What did Shakespeare's sister sing in Vienna?"))
    assert text.count("The knowledge base has nothing on this question.") == 1
    assert "Sources" not in text
    assert Search.objects.get().confidence == "none"


@pytest.mark.django_db
def test_a_greeting_is_greeted(call, pages):
    assert content_of(ask(call, "Hello!")).startswith("Hello!")
    assert content_of(ask(call, "你好")).startswith("你好")
    assert not Search.objects.exists()


@pytest.mark.django_db
def test_links_of_an_answer_open(call, pages):
    told = json.loads(ask(call, TAR).content)["kbadmin"]
    for url in (told["sources"][0]["url"], told["feedback"]["up"]):
        path = url.removeprefix("http://127.0.0.1:8001")
        assert Client().get(path).status_code == 200


def test_an_excerpt_is_cut_to_the_sentences_around_the_match():
    text = "Filler of many words. " * 60 + "Reset the router with a needle. " + "More filler. " * 90
    found = extractive.excerpt(passage(text), extractive.terms_of("How do I reset the router?"))
    assert "Reset the router with a needle." in found
    assert len(found) < extractive.LENGTH + 10
    assert found.startswith("… ") and found.endswith(" …")


def test_an_excerpt_never_cuts_code():
    code = "```bash\n" + "tar -xf archive.tar -C target\n" * 40 + "```"
    text = f"# Extract\n\nTo extract an archive:\n\n{code}\n\nThat was all.\n"
    found = extractive.excerpt(passage(text), extractive.terms_of("extract archive tar"))
    assert found.count("```") == 2


def test_chinese_sentences_are_cut_too():
    text = "无关的内容在这里。" * 60 + "重启路由器请按住按钮五秒。" + "其他无关的内容。" * 90
    found = extractive.excerpt(passage(text), extractive.terms_of("怎样重启路由器？"))
    assert "重启路由器请按住按钮五秒。" in found
    assert len(found) < extractive.LENGTH + 10


@pytest.mark.django_db
def test_models_are_listed_without_an_upstream(call, pages, api_key):
    client = Client(headers={"Authorization": f"Bearer {api_key}"})
    listed = json.loads(client.get("/v1/models").content)
    assert [model["id"] for model in listed["data"]] == ["docs"]
