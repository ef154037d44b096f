"""POST /v1/chat/completions with a language model behind it."""

import json

import pytest

from plugin.votes import pseudonym
from retrieval.models import Search
from tests.fake_model import Break, Raw, call_tool, refuse, say
from tests.plugin.gateway.conftest import events_of, openai_error, said_in

pytestmark = pytest.mark.django_db
CHAT = "/v1/chat/completions"


def ask(call, *messages, model="docs", **more):
    told = [
        {"role": "user", "content": message} if isinstance(message, str) else message
        for message in messages
    ]
    return call(CHAT, {"model": model, "messages": told, **more})


def content_of(response):
    assert response.status_code == 200, response.content
    return json.loads(response.content)["choices"][0]["message"]["content"]


def test_the_model_reads_the_passages_and_the_answer_names_its_sources(call, pages, llm):
    llm.script = say("Run tar -xf", " archive.tar [1].")
    response = ask(call, "How do I extract a tar archive?")
    text = content_of(response)
    assert text.startswith(
        "Run tar -xf archive.tar [1].\n\n---\n**Sources**\n\n- [1] [Archives with tar"
    )
    assert "👍" in text and "👎" in text
    assert "docker" not in text.lower()
    assert "[1] Archives with tar\n" in llm.system()
    assert "Run `tar -xf archive.tar` to extract" in llm.system()
    body = json.loads(response.content)
    assert body["model"] == "docs"
    search = Search.objects.get(pk=body["kbadmin"]["query_id"])
    assert (search.channel, search.query) == ("gateway", "How do I extract a tar archive?")
    assert body["kbadmin"]["sources"][0]["cited"] is True


def test_a_stream_ends_with_sources_before_its_finish(call, pages, llm):
    llm.script = say("Use ", "docker ps [1]", ".")
    chunks = events_of(ask(call, "How do I list running containers?", stream=True))
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = said_in(chunks)
    assert text.startswith("Use docker ps [1].\n\n---\n**Sources**\n\n- [1] [Docker containers](")
    last = chunks[-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["kbadmin"]["sources"][0]["external_id"] == "docker.md"
    assert {chunk["model"] for chunk in chunks} == {"docs"}
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_an_answer_that_cites_nothing_shows_all_its_sources(call, pages, llm):
    llm.script = say("Every night.")
    response = ask(call, "When is the backup of the database written?")
    body = json.loads(response.content)
    assert len(body["kbadmin"]["sources"]) > 1
    assert content_of(response).count("\n- [") == len(body["kbadmin"]["sources"])


def test_where_nothing_is_found_the_model_is_told_and_the_answer_says_so(call, pages, llm):
    llm.script = say("I do not know.")
    text = content_of(ask(call, "What did Shakespeare's sister sing in Vienna?"))
    assert "The knowledge base has nothing on this question." in text
    assert "Sources" not in text
    assert "has no passage on the last message" in llm.system()


def test_a_chinese_question_gets_chinese_instructions_and_a_chinese_footer(call, pages, llm):
    llm.script = say("凌晨两点半。[1]")
    text = content_of(ask(call, "每天几点自动备份数据库？"))
    assert "**来源**\n\n- [1] [备份与恢复](" in text
    assert "[👍 有](" in text
    assert "请根据下面“Docs”知识库中带编号的段落回答问题" in llm.system()


def test_the_collections_own_prompt_is_used(call, pages, llm, collection):
    collection.prompt_en = 'ONLY FROM {collection}:\n{passages}\nJSON {"a": 1}'
    collection.save()
    ask(call, "How do I extract a tar archive?")
    assert llm.system().startswith("ONLY FROM Docs:\n[1] Archives with tar")
    assert llm.system().endswith('JSON {"a": 1}')


def test_the_clients_own_instructions_stay_in_front(call, pages, llm):
    ask(
        call,
        {"role": "system", "content": "Talk like a pirate."},
        "How do I extract a tar archive?",
    )
    assert [message["role"] for message in llm.last["messages"]] == ["system", "user"]
    assert llm.system().startswith("Talk like a pirate.\n\nAnswer from the numbered passages")


def test_other_fields_reach_the_model_as_they_are(call, pages, llm):
    ask(call, "How do I extract a tar archive?", temperature=0.3, seed=7, kbadmin={"top_k": 1})
    assert (llm.last["temperature"], llm.last["seed"]) == (0.3, 7)
    assert llm.last["model"] == "tiny"
    assert "kbadmin" not in llm.last


def test_a_client_may_narrow_the_search(call, pages, llm):
    response = ask(call, "How do I extract a tar archive?", kbadmin={"top_k": 1})
    assert len(json.loads(response.content)["kbadmin"]["sources"]) == 1
    error = openai_error(ask(call, "What is tar?", kbadmin={"top_k": 0}), 400, "invalid_request")
    assert error["param"] == "top_k"


@pytest.mark.parametrize(
    "more", [{"kbadmin": {"footer": False}}, {"response_format": {"type": "json_object"}}]
)
def test_programs_may_have_the_answer_alone(call, pages, llm, more):
    response = ask(call, "How do I extract a tar archive?", **more)
    assert content_of(response) == "Hello there."
    assert json.loads(response.content)["kbadmin"]["sources"]


def test_earlier_answers_go_without_their_sources(call, pages, llm):
    llm.script = say("Run tar [1].")
    first = content_of(ask(call, "How do I extract a tar archive?"))
    ask(
        call,
        "How do I extract a tar archive?",
        {"role": "assistant", "content": first},
        "How do I list running containers?",
    )
    assert llm.last["messages"][2]["content"] == "Run tar [1]."


def test_passages_stay_within_the_budget(call, pages, add, llm, settings):
    settings.GATEWAY_TOKENS = 100
    add("long.md", "# Rules\n\n" + "Gardeners water tulips at dawn. " * 200)
    ask(call, "When do gardeners water tulips?")
    assert "Gardeners water tulips at dawn. Gardeners" in llm.system()
    assert len(llm.system()) < 1500


# --- Calls of tools ----------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "tool_call_id": "call_1", "content": "Rain."}


def test_calls_of_tools_pass_without_sources(call, pages, llm):
    llm.script = call_tool("weather", {"city": "Oslo"})
    chunks = events_of(ask(call, "How do I extract a tar archive?", stream=True, tools=[TOOL]))
    assert llm.last["tools"] == [TOOL]
    assert said_in(chunks) == ""
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    calls = [
        c["choices"][0]["delta"]["tool_calls"][0]
        for c in chunks
        if "tool_calls" in c["choices"][0]["delta"]
    ]
    assert "".join(c["function"]["arguments"] for c in calls) == '{"city": "Oslo"}'


def test_what_a_tool_answered_passes_too(call, pages, llm):
    llm.script = say("It rains.")
    assert "It rains." in content_of(ask(call, "How do I extract a tar archive?", CALLED, TOLD))
    assert llm.last["messages"][-2:] == [CALLED, TOLD]


# --- FastChat ----------------------------------------------------------------------------------


def test_fastchat_gets_only_what_it_accepts(call, pages, llm):
    llm.is_fastchat = True
    response = ask(
        call,
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How do I extract a tar archive?"}]},
        CALLED,
        TOLD,
        tools=[TOOL],
        tool_choice="auto",
        max_completion_tokens=99,
        stream_options={"include_usage": True},
    )
    assert content_of(response).startswith("Hello there.")
    assert not {"tools", "tool_choice", "stream_options"} & llm.last.keys()
    assert llm.last["max_tokens"] == 99
    roles = [message["role"] for message in llm.last["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert llm.last["messages"][0]["content"].startswith("Be brief.\n\nAnswer from")
    assert llm.last["messages"][1]["content"] == "How do I extract a tar archive?"
    assert "Rain." in llm.last["messages"][3]["content"]


def test_an_order_behind_the_conversation_reaches_fastchat_as_the_last_word(call, pages, llm):
    llm.is_fastchat = True
    order = {"role": "system", "content": "Summarize the discussion briefly in 200 words or less."}
    ask(call, "How do I extract a tar archive?", {"role": "assistant", "content": "tar"}, order)
    assert [message["role"] for message in llm.last["messages"]] == ["user", "assistant", "user"]
    assert llm.last["messages"][-1]["content"] == order["content"]


def test_what_is_too_long_for_the_model_is_sent_again_with_less(call, pages, llm):
    def script(body):
        if len(json.dumps(body)) > 2500:
            message = "This model's maximum context length is 600 tokens."
            return refuse(400, message, 40303)(body)
        return say("Short [1].")(body)

    llm.script = script
    earlier = [
        message
        for _ in range(10)
        for message in (
            {"role": "user", "content": "Tell me about the docker containers. " * 5},
            {"role": "assistant", "content": "They run. " * 40},
        )
    ]
    text = content_of(ask(call, *earlier, "How do I extract a tar archive?"))
    assert text.startswith("Short [1].")
    assert len(llm.asked) == 2
    assert [m["role"] for m in llm.last["messages"]] == ["system", "user"]


def test_what_is_too_long_in_any_case_says_so(call, pages, llm):
    llm.script = refuse(400, "maximum context length is 10 tokens", "context_length_exceeded")
    response = ask(call, "How do I extract a tar archive?", stream=True)
    openai_error(response, 400, "context_length_exceeded")
    assert len(llm.asked) == 3


# --- Broken streams ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        [Break()],
        [Raw('{"text": "worker died", "error_code": 50002}')],
        [Raw('{"error": {"message": "out of memory"}}')],
        [Raw("not json")],
        [Raw('{"choices": [{"delta": "odd"}]}'), Break()],
    ],
    ids=["cut", "fastchat", "openai", "garbage", "odd"],
)
def test_a_stream_that_breaks_off_says_so_and_ends_properly(call, pages, llm, trouble):
    llm.script = say("Run tar", *trouble, reason=None)
    chunks = events_of(ask(call, "How do I extract a tar archive?", stream=True))
    text = said_in(chunks)
    assert text.startswith("Run tar\n\n⚠️ The language model broke off here.")
    assert "**Sources**" in text
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_server_that_does_not_stream_is_streamed(call, pages, llm):
    llm.script = say("All at once [1].", streams=False)
    chunks = events_of(ask(call, "How do I extract a tar archive?", stream=True))
    assert said_in(chunks).startswith("All at once [1].\n\n---\n**Sources**")


def test_usage_comes_when_it_is_wanted_and_only_then(call, pages, llm):
    question = "How do I extract a tar archive?"
    wanted = {"include_usage": True}
    chunks = events_of(ask(call, question, stream=True, stream_options=wanted))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 18
    llm.script = say("Uncounted.", counts=False)
    chunks = events_of(ask(call, question, stream=True, stream_options=wanted))
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    assert all(chunk["choices"] for chunk in events_of(ask(call, question, stream=True)))


# --- Names of the upstream ---------------------------------------------------------------------


def test_a_model_of_the_upstream_answers_without_the_knowledge_base(call, pages, llm):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hi, tar?"},
    ]
    response = ask(call, *messages, model="other/large", tools=[TOOL])
    assert content_of(response) == "Hello there."
    assert llm.last == {"model": "other/large", "messages": messages, "tools": [TOOL]}
    assert not Search.objects.exists()
    assert "kbadmin" not in json.loads(response.content)


def test_an_unknown_model_is_refused_with_the_names_there_are(call, pages, llm):
    error = openai_error(ask(call, "Hi", model="gpt-9"), 404, "model_not_found")
    assert error["param"] == "model"
    assert "docs" in error["message"] and "other/large" in error["message"]
    assert not llm.asked


# --- Who asks ----------------------------------------------------------------------------------


def test_the_person_in_the_chat_is_counted_and_not_named(call, pages, llm, api_key):
    for name in ("ann@example.org", "bob@example.org", "ann@example.org"):
        llm.script = say("Every night.")
        assert ask(call, "When is the backup written?", user=name).status_code == 200
    askers = list(Search.objects.order_by("created_at").values_list("asker", flat=True))
    assert askers[0] == askers[2] != askers[1]
    assert all(asker.startswith(f"{api_key[:8]}:") for asker in askers)
    assert "example" not in "".join(askers)


@pytest.mark.parametrize(
    "named",
    [
        {"user": "ann"},
        {"safety_identifier": "ann", "user": "an older field"},
        {"headers": {"X-OpenWebUI-User-Id": "ann"}},
    ],
)
def test_chat_programs_name_the_person_in_several_ways(call, pages, llm, api_key, named):
    headers = named.pop("headers", {})
    llm.script = say("Every night.")
    messages = [{"role": "user", "content": "When is the backup written?"}]
    body = {"model": "docs", "messages": messages, **named}
    assert call(CHAT, body, headers=headers).status_code == 200
    assert Search.objects.get().asker == f"{api_key[:8]}:{pseudonym('ann')}"


@pytest.mark.parametrize("user", [None, "", "  ", 7, ["ann"], "\ud800", "x" * 100_000])
def test_nobody_needs_to_be_named(call, pages, llm, api_key, user):
    llm.script = say("Every night.")
    assert ask(call, "When is the backup written?", user=user).status_code == 200
    asker = Search.objects.get().asker
    assert asker.partition(":")[0] == api_key[:8]
    assert len(asker) < 30
