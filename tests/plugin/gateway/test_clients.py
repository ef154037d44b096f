"""The libraries that people use, against a running web process with a model behind it."""

import base64
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import OpenAI
from pydantic import SecretStr

from tests.fake_model import Break, FakeModel, Reply, call_tool, refuse, say, serve_model
from tests.plugin.gateway.conftest import TEXTS
from tests.processes import children, open_files
from tests.retrieval.installation import installed

KEY = "kb_key_of_the_tests_0123456789"
QUESTION = "How do I extract a tar archive?"
MODEL_NAME = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass
class Served:
    url: str
    llm: FakeModel
    pid: int

    def client(self, key: str = KEY) -> OpenAI:
        return OpenAI(
            base_url=f"{self.url}/v1",
            api_key=key,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False, timeout=60),
        )

    def databases(self) -> int:
        """How often the web process has the database open."""
        return sum(name.endswith(".sqlite3") for name in open_files(self.pid))


@pytest.fixture(scope="module")
def served(tmp_path_factory, bundle) -> Iterator[Served]:
    """One web process with few places, its worker, its Chroma, and a scripted model."""
    folder = tmp_path_factory.mktemp("gateway")
    texts = folder / "texts"
    for name, text in TEXTS.items():
        (texts / name).parent.mkdir(parents=True, exist_ok=True)
        (texts / name).write_text(text, encoding="utf-8")
    with serve_model() as llm, installed(folder / "data", bundle) as installation:
        installation.environment |= {
            "KBADMIN_UPSTREAM_URL": llm.url,
            "KBADMIN_UPSTREAM_KEY": "secret-of-the-upstream",
            "KBADMIN_UPSTREAM_TIMEOUT": "20",
            "KBADMIN_GATEWAY_STREAMS": "60",
        }
        issue = f"from retrieval.models import ApiKey; ApiKey.issue('t', '{KEY}')"
        installation.run("shell", "-v", "0", "-c", issue)
        worker = installation.start("worker")
        installation.run("ingest", str(texts), "--collection", "docs", "--wait")
        worker.terminate()
        url = installation.serve()
        [web] = children(installation.started[-1].pid)
        yield Served(url, llm, web)


@pytest.fixture
def llm(served) -> Iterator[FakeModel]:
    model = served.llm
    model.script = say("Run tar -xf", " [1].")
    model.asked.clear()
    model.headers.clear()
    model.left.clear()
    model.most = 0
    yield model
    model.settle()


@pytest.fixture
def client(served: Served) -> OpenAI:
    return served.client()


def user(text: str):
    return [{"role": "user", "content": text}]


def search(served: Served) -> float:
    """Seconds that a search takes."""
    began = time.monotonic()
    response = httpx.post(
        f"{served.url}/search",
        json={"query": "docker ps"},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=30,
        trust_env=False,
    )
    assert response.status_code == 200
    return time.monotonic() - began


# --- The official library ------------------------------------------------------------------------


def test_chat(client, llm):
    answer = client.chat.completions.create(model="docs", messages=user(QUESTION))
    choice = answer.choices[0]
    assert choice.message.content.startswith("Run tar -xf [1].\n\n---\n**Sources**\n\n- [1] [")
    assert choice.finish_reason == "stop"
    assert answer.usage.total_tokens == 18
    assert answer.model_extra["kbadmin"]["confidence"] in {"high", "low"}
    assert llm.headers[-1]["authorization"] == "Bearer secret-of-the-upstream"


def test_a_stream_comes_piece_by_piece(client, llm):
    """The second piece is not even written before the client has the first one."""
    gate = threading.Event()
    llm.script = say("first ", gate, "second [1].")
    with client.chat.completions.create(
        model="docs", messages=user(QUESTION), stream=True, stream_options={"include_usage": True}
    ) as stream:
        text = ""
        for chunk in stream:
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
                last = chunk
            if text == "first ":
                gate.set()
    assert text.startswith("first second [1].\n\n---\n**Sources**")
    assert last.choices[0].finish_reason == "stop"
    assert last.model_extra["kbadmin"]["sources"]
    assert chunk.usage.total_tokens == 18


def test_calls_of_tools(client, llm):
    llm.script = call_tool("weather", {"city": "Oslo"})
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    answer = client.chat.completions.create(model="docs", messages=user(QUESTION), tools=[tool])
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"city": "Oslo"}'
    assert answer.choices[0].message.content is None


def test_models(client, llm):
    names = [model.id for model in client.models.list()]
    assert names == ["docs", "docs:extractive", "tiny", "other/large"]
    assert client.models.retrieve("docs").owned_by == "kbadmin"
    assert client.models.retrieve("other/large").owned_by == "vendor"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


@pytest.mark.parametrize("name", ["docs", MODEL_NAME, "all-MiniLM-L6-v2"])
def test_embeddings_are_the_collections_own(client, llm, name):
    answer = client.embeddings.create(model=name, input=["a tar archive", "extract tar", "小猫"])
    vectors = [item.embedding for item in answer.data]
    assert [len(vector) for vector in vectors] == [384] * 3
    assert [item.index for item in answer.data] == [0, 1, 2]
    near = sum(a * b for a, b in zip(vectors[0], vectors[1], strict=True))
    far = sum(a * b for a, b in zip(vectors[0], vectors[2], strict=True))
    assert near > far
    assert answer.usage.prompt_tokens > 6
    assert not llm.asked


def test_embeddings_as_floats_and_as_base64_are_the_same(client, llm):
    def embed(encoding):
        made = client.embeddings.create(model="docs", input="tar", encoding_format=encoding)
        return made.data[0].embedding

    packed = embed("base64")
    raw = base64.b64decode(packed)
    assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(embed("float"), abs=1e-6)


def test_embeddings_of_the_upstream(client, llm):
    answer = client.embeddings.create(model="tiny", input="x", encoding_format="float")
    assert answer.data[0].embedding == [0.5, 0.5]


def test_langchain(served, llm):
    key = SecretStr(KEY)
    chat = ChatOpenAI(model="docs", base_url=f"{served.url}/v1", api_key=key, max_retries=0)
    assert chat.invoke(QUESTION).text.startswith("Run tar -xf [1].\n\n---\n**Sources**")
    streamed = "".join(chunk.text for chunk in chat.stream(QUESTION))
    assert streamed.startswith("Run tar -xf [1].\n\n---\n**Sources**")
    embeddings = OpenAIEmbeddings(
        model="docs", base_url=f"{served.url}/v1", api_key=key, check_embedding_ctx_length=False
    )
    assert len(embeddings.embed_query("tar")) == 384


# --- Without a language model --------------------------------------------------------------------


def test_passages_alone_answer(client, llm):
    answer = client.chat.completions.create(model="docs:extractive", messages=user(QUESTION))
    text = answer.choices[0].message.content
    assert "tar -xf archive.tar" in text
    assert "**Sources**" in text
    assert answer.usage.completion_tokens > 10
    stream = client.chat.completions.create(
        model="docs:extractive", messages=user(QUESTION), stream=True
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert streamed.split("---")[0] == text.split("---")[0]
    assert not llm.asked


# --- Errors --------------------------------------------------------------------------------------


def test_errors_are_those_of_the_library(served, client, llm):
    with pytest.raises(openai.AuthenticationError) as refused:
        served.client("kb_wrong_key_0123456789").chat.completions.create(
            model="docs", messages=user("Hi")
        )
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-9", messages=user("Hi"))
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as empty:
        client.chat.completions.create(model="docs", messages=[])
    assert empty.value.param == "messages"
    with pytest.raises(openai.BadRequestError) as numbers:
        client.embeddings.create(model="docs", input=[[1, 2, 3]])
    assert "check_embedding_ctx_length" in str(numbers.value)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("script", "error", "code"),
    [
        (refuse(429, "slow down", headers={"Retry-After": "7"}), openai.RateLimitError, None),
        (refuse(500, "boom"), openai.InternalServerError, "upstream_failed"),
        (refuse(401, "who?"), openai.InternalServerError, "upstream_key_refused"),
        (refuse(400, "no such option"), openai.BadRequestError, "upstream_refused"),
        (lambda body: Reply(body=b"<html>"), openai.InternalServerError, "upstream_failed"),
        (
            lambda body: Reply(headers={"first": '{"text": "no worker", "error_code": 50002}'}),
            openai.InternalServerError,
            "upstream_failed",
        ),
    ],
    ids=["busy", "broken", "key", "refused", "html", "first-event"],
)
def test_what_the_upstream_says_instead_of_an_answer(client, llm, script, error, code, stream):
    llm.script = script
    with pytest.raises(error) as raised:
        client.chat.completions.create(model="docs", messages=user(QUESTION), stream=stream)
    assert raised.value.code == code or code is None
    if error is openai.RateLimitError:
        assert raised.value.response.headers["Retry-After"] == "7"


def test_an_upstream_that_is_cut_off_while_it_answers(client, llm):
    llm.script = say("Half an", Break())
    with pytest.raises(openai.InternalServerError) as broken:
        client.chat.completions.create(model="docs", messages=user(QUESTION))
    assert broken.value.status_code == 502
    stream = client.chat.completions.create(model="docs", messages=user(QUESTION), stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text.startswith("Half an\n\n⚠️ The language model broke off here.")


# --- Who goes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_client_that_goes_before_the_first_word_ends_the_call(served, llm, stream):
    """The upstream says nothing, so nothing could be written that would tell."""
    llm.script = lambda body: Reply(["late"], wait=threading.Event())
    body = {"model": "docs", "messages": user(QUESTION), "stream": stream}
    leave_at_once(served, body, until=lambda: llm.under_way == 1)
    assert llm.left.wait(10)
    llm.settle()


def test_a_client_that_goes_in_the_middle_ends_the_call(served, client, llm):
    llm.script = say("word ", threading.Event(), "never")
    stream = client.chat.completions.create(model="docs", messages=user(QUESTION), stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    assert llm.under_way == 1
    stream.close()
    client.close()
    assert llm.left.wait(10)
    llm.settle()


def leave_at_once(served, body, until) -> None:
    """Send a request and close the connection once something holds, without reading."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        request = httpx.Request(
            "POST",
            f"{served.url}/v1/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {KEY}"},
        )
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        sent = f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + request.read()
        connection.sendall(sent)
        deadline = time.monotonic() + 10
        while not until() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert until()


# --- Many at once --------------------------------------------------------------------------------


def test_fifty_streams_at_once_on_one_process(served, llm):
    """All of them are open before any goes on; searches are answered meanwhile; then each gets
    its whole answer, and no thread and no connection is left behind."""
    gate = threading.Event()
    number = 50
    llm.script = say("one ", gate, *["word "] * 20, "end [1].")
    opened = threading.Barrier(number + 1)

    def ask(place):
        client = served.client()
        text = ""
        with client.chat.completions.create(
            model="docs", messages=user(QUESTION), stream=True
        ) as stream:
            for chunk in stream:
                was_empty = not text
                text += chunk.choices[0].delta.content or ""
                if was_empty and text:
                    opened.wait(60)
        return text

    with ThreadPoolExecutor(number) as threads:
        answers = [threads.submit(ask, place) for place in range(number)]
        opened.wait(60)
        assert llm.under_way == number
        for _ in range(5):
            search(served)
        # Those that stream hold no connection to the database.
        assert served.databases() <= 10
        # All of them are held by the model: the gate is still closed.
        assert llm.under_way == number
        gate.set()
        for answer in answers:
            assert answer.result(60).startswith(
                "one " + "word " * 20 + "end [1].\n\n---\n**Sources**"
            )
    llm.settle()


def test_beyond_its_places_the_process_refuses_and_recovers(served, llm):
    gate = threading.Event()
    llm.script = say("one ", gate, "two")
    client = served.client()
    streams = [
        client.chat.completions.create(model="tiny", messages=user("Hi"), stream=True)
        for _ in range(60)
    ]
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model="docs", messages=user(QUESTION))
    assert (refused.value.status_code, refused.value.code) == (503, "overloaded")
    assert int(refused.value.response.headers["Retry-After"]) > 0
    search(served)
    gate.set()
    for stream in streams:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert text == "one two"
    llm.settle()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            client.chat.completions.create(model="docs", messages=user(QUESTION))
            break
        except openai.InternalServerError:
            time.sleep(0.1)
    else:
        pytest.fail("the places were not given back")
