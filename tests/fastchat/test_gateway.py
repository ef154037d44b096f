"""The gateway in front of a real FastChat: what its clients see, whatever happens behind it."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from tests.fastchat.conftest import KEY, NAME, wait_until

pytestmark = [pytest.mark.fastchat, pytest.mark.timeout(300)]

QUESTION = "How do I extract an archive with tar?"
USER = [{"role": "user", "content": QUESTION}]
TOOL = {
    "type": "function",
    "function": {"name": "search", "parameters": {"type": "object", "properties": {}}},
}
#: What a client with tools sends in its second turn.
WITH_TOOLS = [
    {"role": "developer", "content": "Be brief."},
    {"role": "system", "content": "Answer in English."},
    {"role": "user", "content": "What can you do?"},
    {
        "role": "assistant",
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": "nothing found"},
    {"role": "assistant", "content": None},
    *USER,
]
TITLE = (
    "Please generate a four to five word title summarizing our conversation without any lead-in, "
    "punctuation, quotation marks, periods, symbols, bold text, or additional text. Remove "
    "enclosing quotation marks."
)


def stream_of(client, **more):
    return client.chat.completions.create(
        **{"model": "docs", "messages": USER, "max_tokens": 40, "stream": True, **more}
    )


def text_of(chunks):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def post(url, body, path="chat/completions"):
    return httpx.post(
        f"{url}/v1/{path}",
        json=body,
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=120,
        trust_env=False,
    )


def assert_speaks_from_documents(text):
    """Words of the model, then the sources and the two links."""
    said, _, footer = text.partition("\n\n---\n")
    assert len(said.split()) > 3
    assert "Archives with tar" in footer
    assert footer.count("/f/") == 2


def test_collections_and_models_of_fastchat_are_listed(client):
    listed = {model.id: model.owned_by for model in client.models.list()}
    assert listed["docs"] == "kbadmin"
    assert listed[NAME] == "fastchat"


def test_an_answer_with_its_sources(client):
    answer = client.chat.completions.create(
        model="docs", messages=USER, max_tokens=40, temperature=0.5, presence_penalty=0, top_p=1
    )
    assert answer.model == "docs"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens > 10
    assert_speaks_from_documents(answer.choices[0].message.content)


def test_a_stream_with_its_sources_comes_as_it_is_made(client):
    began = time.monotonic()
    stream = stream_of(client, max_tokens=600, stream_options={"include_usage": True})
    times, chunks = [], []
    for chunk in stream:
        times.append(time.monotonic() - began)
        chunks.append(chunk)
    assert len(chunks) > 50
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.model for chunk in chunks} == {"docs"}
    assert all(chunk.created for chunk in chunks)
    assert chunks[-1].usage.completion_tokens > 10
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert times[2] < times[-1] / 2, "the first words waited for the last"
    assert_speaks_from_documents(text_of(chunks))


def test_a_model_of_fastchat_answers_untouched(client, direct):
    asked = {"model": NAME, "messages": USER, "max_tokens": 30, "temperature": 0}
    through = client.chat.completions.create(**asked).choices[0].message.content
    assert through == direct.chat.completions.create(**asked).choices[0].message.content
    assert "---" not in through


def test_a_request_for_a_title_gets_nothing_but_words(client):
    messages = [*USER, {"role": "assistant", "content": "With tar."}]
    messages.append({"role": "user", "content": TITLE})
    answer = client.chat.completions.create(model="docs", messages=messages, max_tokens=8)
    assert "---" not in answer.choices[0].message.content


@pytest.mark.parametrize("message", WITH_TOOLS[:1] + WITH_TOOLS[3:5], ids=lambda m: m["role"])
def test_fastchat_itself_fails_at_what_the_gateway_takes_out(direct, message):
    with pytest.raises(openai.InternalServerError):
        direct.chat.completions.create(model=NAME, messages=[message], max_tokens=5)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_tools_and_roles_that_fastchat_does_not_know_are_no_obstacle(url, streamed):
    body = {
        "model": "docs",
        "messages": WITH_TOOLS,
        "tools": [TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_completion_tokens": 20,
        "stream": streamed,
        "stream_options": {"include_usage": True} if streamed else None,
    }
    answer = post(url, {name: value for name, value in body.items() if value is not None})
    assert answer.status_code == 200, answer.text
    assert "Archives with tar" in answer.text
    if streamed:
        assert answer.text.rstrip().endswith("data: [DONE]")


def test_the_same_holds_for_its_own_models(url):
    body = {"model": NAME, "messages": WITH_TOOLS, "tools": [TOOL], "max_tokens": 10}
    assert post(url, body).status_code == 200


def test_passages_for_the_whole_budget_leave_room_for_the_answer(client):
    asked = [{"role": "user", "content": "Where are trains of rule 7 booked?"}]
    answer = client.chat.completions.create(model="docs", messages=asked, max_tokens=20)
    assert "Trains" in answer.choices[0].message.content
    assert answer.usage.prompt_tokens > 1000


def test_a_conversation_beyond_the_context_is_answered_with_less_of_it(client, direct):
    long = "We talked about this and that, and about whoever travels by train. " * 30
    messages = []
    for _ in range(12):
        messages += [{"role": "user", "content": long}, {"role": "assistant", "content": long}]
    messages += USER
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        direct.chat.completions.create(model=NAME, messages=messages, max_tokens=5)
    for streamed in (False, True):
        if streamed:
            text = text_of(stream_of(client, messages=messages))
        else:
            answer = client.chat.completions.create(model="docs", messages=messages, max_tokens=40)
            text = answer.choices[0].message.content
        assert_speaks_from_documents(text)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["docs", NAME])
def test_a_question_beyond_the_context_is_refused_in_openais_words(client, model, streamed):
    asked = [{"role": "user", "content": "How do I extract an archive with tar? " * 1500}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=model, messages=asked, max_tokens=20, stream=streamed)
    assert "maximum context length" in refused.value.message
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.type == "invalid_request_error"


def test_what_fastchat_refuses_is_told_in_openais_shape(client):
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model="docs", messages=USER, max_tokens=5, temperature=9)


def test_a_model_that_nobody_has_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match="no-such-model") as refused:
        client.chat.completions.create(model="no-such-model", messages=USER)
    assert refused.value.code == "model_not_found"


def test_a_client_that_stops_ends_the_generation(client, fastchat):
    stream = stream_of(client, max_tokens=3000)
    for _ in range(5):
        next(iter(stream))
    assert fastchat.at_work() == 1
    stream.response.close()
    wait_until(lambda: fastchat.at_work() == 0, 10, "FastChat still generates")
    before = fastchat.cpu_seconds()
    time.sleep(1.5)
    assert fastchat.cpu_seconds() - before < 0.3, "its worker still computes"
    assert text_of(stream_of(client))


def test_several_streams_at_once(client):
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda _: text_of(stream_of(client, max_tokens=60)), range(4)))
    for text in texts:
        assert_speaks_from_documents(text)


def test_embeddings_of_a_collection_are_ours_and_of_its_models_fastchats(client, direct):
    ours = client.embeddings.create(model="docs", input="tar").data[0].embedding
    assert len(ours) == 384
    through = client.embeddings.create(model=NAME, input=["tar", "backup"]).data
    assert [len(item.embedding) for item in through] == [64, 64]
    own = direct.embeddings.create(model=NAME, input=["tar", "backup"]).data
    assert through[1].embedding == pytest.approx(own[1].embedding, abs=1e-4)


@pytest.mark.parametrize("part", ["worker", "api"])
def test_killed_in_the_middle_of_a_stream_a_sentence_ends_the_answer(client, fastchat, part):
    stream = stream_of(client, max_tokens=3000)
    chunks = [next(iter(stream)) for _ in range(5)]
    fastchat.kill(part)
    began = time.monotonic()
    chunks += list(stream)
    assert time.monotonic() - began < 30
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert "The language model broke off here." in text_of(chunks)
    wait_until(fastchat.has_ended, 30, "serve.py outlives what it runs")


def test_killed_while_an_answer_is_waited_for_there_is_an_error(client, fastchat):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            client.chat.completions.create, model="docs", messages=USER, max_tokens=3000
        )
        wait_until(lambda: fastchat.at_work() == 1, 30, "nothing was asked")
        fastchat.kill("api")
        began = time.monotonic()
        with pytest.raises(openai.APIStatusError) as failed:
            waiting.result(timeout=60)
    assert time.monotonic() - began < 30
    assert failed.value.status_code in {502, 503, 504}
    assert isinstance(failed.value.body, dict)
    assert failed.value.body["message"]


def test_without_fastchat_it_says_so_and_passages_still_answer(client, fastchat):
    fastchat.stop()
    with pytest.raises(openai.APIStatusError) as failed:
        client.chat.completions.create(model="docs", messages=USER)
    assert failed.value.status_code in {502, 503}
    answer = client.chat.completions.create(model="docs:extractive", messages=USER)
    assert "tar -xf archive.tar" in answer.choices[0].message.content
    assert "docs" in [model.id for model in client.models.list()]


def test_once_it_is_back_answers_are_too(client):
    def is_back():
        try:
            return text_of(stream_of(client))
        except openai.APIStatusError:
            return ""

    wait_until(is_back, 30, "the gateway does not find FastChat again")
