"""What is searched for: follow-ups are completed, small talk and orders are not searched."""

import json

import pytest

from plugin.gateway import questions
from plugin.gateway.housekeeping import NEXTCHAT_TITLES, Task, task_of
from retrieval.models import Search
from tests.fake_model import say
from tests.plugin.gateway.test_chat import ask, content_of

TAR = "How do I extract a tar archive?"


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


# --- The rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "question",
    [
        "and on Windows?",
        "And what about macOS",
        "What about docker?",
        "how about zip files",
        "on Windows 11?",
        "How do I uninstall it?",
        "Can they be restored?",
        "What does that mean?",
        "why?",
        "Tell me more",
        "Thanks! And on a Mac?",
        "那在 Windows 上呢？",
        "在 Windows 上呢？",
        "怎么卸载它？",
        "还有别的办法吗？",
        "这个怎么用？",
        "为什么？",
        "和 Docker 比呢",
    ],
)
def test_what_points_back(question):
    assert questions.points_back(question)


@pytest.mark.parametrize(
    "question",
    [
        TAR,
        "How do I list all running containers?",
        "Is it possible to restore a backup from last week?",
        "Which files does the nightly backup contain?",
        "Where is the manual for the coffee machine in the kitchen on the second floor?",
        "Why does docker ps show no stopped containers?",
        "数据库每天什么时候备份？",
        "为什么备份文件不能恢复到另一台服务器上面去呢？",
        "忘记密码怎么办？",
        "如何列出所有正在运行的容器？",
    ],
)
def test_what_stands_alone(question):
    assert not questions.points_back(question)


def test_a_chain_of_follow_ups_goes_back_to_the_question_that_stands_alone():
    asked = ["When is the backup written?", TAR, "thanks!", "and zip?", "and on Windows?"]
    assert questions.completed(asked) == f"{TAR} and zip? and on Windows?"


def test_a_long_question_before_is_shortened():
    before = "How do I read this log? " + "ERROR 17 " * 2000
    assert len(questions.completed([before, "and on Windows?"])) < 1200


@pytest.mark.parametrize(
    "text", ["Hi!", "thanks a lot", "Thank you very much!", "你好", "好的，谢谢！"]
)
def test_small_talk(text):
    assert questions.is_small_talk(text)


@pytest.mark.parametrize("text", ["hi, how do I extract tar?", "thank the user?", "你好，密码忘了"])
def test_no_small_talk(text):
    assert not questions.is_small_talk(text)


def test_the_question_may_come_in_parts_or_inside_a_template():
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url"},
        {"type": "text", "text": "this?"},
    ]
    assert questions.question_in([user(parts)]) == "What is\nthis?"
    wrapped = "### Task:\nRespond to the user query.\n<user_query>\nWhat is tar?\n</user_query>"
    assert questions.question_in([user(wrapped)]) == "What is tar?"


# --- What is searched ----------------------------------------------------------------------------


def searched(call, *messages):
    """What the log says was searched for."""
    assert content_of(ask(call, *messages))
    return list(Search.objects.values_list("query", flat=True))


@pytest.mark.django_db
def test_a_follow_up_is_searched_with_the_question_before_it(call, pages, llm):
    found = searched(call, user(TAR), assistant("Run tar."), user("and on Windows?"))
    assert found == [f"{TAR} and on Windows?"]
    assert "tar.exe -xf" in llm.system()


@pytest.mark.django_db
def test_a_chinese_follow_up_too(call, pages, llm):
    first = user("自动备份的备份文件保存在哪里？")
    found = searched(call, first, assistant("备份目录。"), user("那在 Windows 上呢？"))
    assert found == ["自动备份的备份文件保存在哪里？ 那在 Windows 上呢？"]
    assert "在 Windows 上，备份文件保存在用户目录" in llm.system()


@pytest.mark.django_db
def test_a_new_question_is_searched_alone(call, pages, llm):
    question = "How do I list all running containers?"
    assert searched(call, user(TAR), assistant("Run tar."), user(question)) == [question]


@pytest.mark.django_db
def test_a_short_new_question_is_searched_alone_where_that_is_as_certain(call, pages, llm):
    found = searched(call, user("Where is the coffee?"), assistant("?"), user("docker ps"))
    assert found == ["docker ps"]


@pytest.mark.django_db
def test_thanks_are_not_searched(call, pages, llm):
    llm.script = say("You are welcome.")
    text = content_of(ask(call, user(TAR), assistant("Run tar."), user("Thanks!")))
    assert text == "You are welcome."
    assert not Search.objects.exists()


# --- Orders of chat programs ---------------------------------------------------------------------

SUMMARY = (
    "Summarize the discussion briefly in 200 words or less to use as a prompt for future context."
)
WEBUI = (
    "### Task:\n{}\n### Chat History:\n<chat_history>\nUSER: How do I extract tar?\n</chat_history>"
)


@pytest.mark.parametrize(
    ("message", "task"),
    [
        *((user(f"{text}, …"), Task.TITLE) for text in NEXTCHAT_TITLES),
        ({"role": "system", "content": SUMMARY}, Task.SUMMARY),
        (user(WEBUI.format("Generate a concise, 3-5 word title with an emoji.")), Task.TITLE),
        (user(WEBUI.format("Generate 1-3 broad tags categorizing the main themes.")), Task.TAGS),
        (user(WEBUI.format("Suggest 3-5 relevant follow-up questions.")), Task.FOLLOW_UPS),
        (user(WEBUI.format("Analyze the chat history to determine the necessity of generating "
                           "search queries.")), Task.QUERIES),
        (user(WEBUI.format("You are an autocompletion system.")), Task.OTHER),
        (user("Provide a concise, 5-word-or-less title for the conversation, using its language."),
         Task.TITLE),
        (user("请根据以上对话内容，生成一个不超过十个字的标题。"), Task.TITLE),
    ],
)  # fmt: skip
def test_orders_of_chat_programs(message, task):
    assert task_of([user(TAR), assistant("Run tar."), message]) is task


@pytest.mark.parametrize(
    "text",
    [
        "How do I generate a title page?",
        "Give me the name of the person on duty.",
        "Generate a backup of the database",
        "### Task:\nRespond to the user query using the provided context.",
        "根据手册，怎样修改文档的标题？",
    ],
)
def test_questions_that_only_sound_like_orders(text):
    assert task_of([user(text)]) is None


def test_instructions_alone_are_no_order():
    assert task_of([{"role": "system", "content": SUMMARY}]) is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    "order",
    [
        user(NEXTCHAT_TITLES[6] + " summarizing our conversation."),
        {"role": "system", "content": SUMMARY},
    ],
)
def test_an_order_passes_untouched_and_gets_no_sources(call, pages, llm, order):
    llm.script = say("Archives and tar")
    messages = [user(TAR), assistant("Run tar [1]."), order]
    response = ask(call, *messages)
    assert content_of(response) == "Archives and tar"
    assert llm.last["messages"] == messages
    assert not Search.objects.exists()
    assert "kbadmin" not in json.loads(response.content)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("order", "answer"),
    [
        (NEXTCHAT_TITLES[6], "How do I extract a tar"),
        (WEBUI.format('Generate a title: { "title": "…" }'), '{"title": "How do I extract a tar"}'),
        (WEBUI.format("Generate 1-3 broad tags."), '{"tags": []}'),
    ],
)  # fmt: skip
def test_without_a_language_model_the_conversation_gives_the_title(call, pages, order, answer):
    assert content_of(ask(call, user(TAR), assistant("Run tar."), user(order))) == answer


@pytest.mark.django_db
def test_a_chinese_title_is_short(call, pages):
    messages = [
        user("每天几点自动备份数据库，备份文件在哪里？"),
        assistant("…"),
        user(NEXTCHAT_TITLES[2]),
    ]
    assert content_of(ask(call, *messages)) == "每天几点自动备份数据库"
