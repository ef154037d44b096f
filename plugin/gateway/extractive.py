"""Answers without a language model: the sentences of the best passages that match."""

import json
import re
from collections.abc import Iterator, Sequence

from plugin.gateway import questions
from plugin.gateway.context import Found, Passage
from plugin.gateway.conversation import Message, text_of
from plugin.gateway.housekeeping import Task
from plugin.gateway.wording import is_chinese, wording_for
from retrieval.lexical import tokenize

#: Passages of one answer, characters of each, and the share of the best score that others need.
PASSAGES, LENGTH, NEAR = 3, 700, 0.75
#: Words and characters of a title.
TITLE_WORDS, TITLE_CHARACTERS = 6, 12
#: A block that is never cut: code between fences, a table, a list; else a sentence.
FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.M | re.S)
SENTENCE = re.compile(r".+?(?:[.!?](?=\s)|[。！？；]|\n|$)", re.S)
HEADING = re.compile(r"^#{1,6}\s+(?P<text>.+?)[ \t#]*$", re.M)
#: So common that a sentence is not about them.
COMMON = frozenset(
    tokenize(
        "a an the is are was were be do does did how what when where which who why can could "
        "should would will i you we my your our to of in on at for with from and or not it its "
        "this that there have has if as by"
    )
)


def answer(found: Found) -> str:
    """Markdown, without the footer."""
    words = found.wording
    if not found.passages:
        return words.nothing
    best = found.passages[0].hit.score
    shown = [item for item in found.passages[:PASSAGES] if item.hit.score >= NEAR * best]
    wanted = terms_of(found.searched)
    parts = [words.found if found.response.confidence == "high" else words.perhaps]
    parts += [
        f"**{_plain(item.title)}** [{item.number}]\n\n{excerpt(item, wanted)}" for item in shown
    ]
    return "\n\n".join(parts)


def greeting(question: str) -> str:
    return wording_for(question).greeting


def terms_of(question: str) -> frozenset[str]:
    terms = frozenset(tokenize(question))
    return (terms - COMMON) or terms


def excerpt(passage: Passage, wanted: frozenset[str]) -> str:
    """The part of a passage around what matches best, in whole sentences and blocks."""
    pieces = pieces_of(passage.text)
    if not pieces:
        return passage.text.strip()
    scores = [len(wanted & set(tokenize(piece))) for piece in pieces]
    first = last = scores.index(max(scores))
    length = len(pieces[first])
    # It grows to the side that says more, downwards rather than upwards: answers follow. What
    # stands below another heading is about something else.
    while True:
        after = (
            last + 1 < len(pieces)
            and not HEADING.match(pieces[last + 1])
            and length + len(pieces[last + 1]) <= _room(pieces[last + 1])
        )
        before = (
            first > 0
            and not HEADING.match(pieces[first])
            and length + len(pieces[first - 1]) <= LENGTH
        )
        if after and not (before and scores[first - 1] > scores[last + 1]):
            last += 1
            length += len(pieces[last])
        elif before:
            first -= 1
            length += len(pieces[first])
        else:
            break
    told = {passage.hit.title, *passage.hit.heading_path}
    text = HEADING.sub(
        lambda match: "" if match["text"] in told else f"**{match['text'].replace('*', '')}**",
        "".join(pieces[first : last + 1]),
    ).strip()
    return f"{'… ' if first else ''}{text}{' …' if last + 1 < len(pieces) else ''}"


def _room(piece: str) -> int:
    """Code is what the sentence before it is about: it may take more room."""
    return 2 * LENGTH if FENCE.match(piece) else LENGTH


def pieces_of(text: str) -> list[str]:
    """Sentences, lines and whole blocks of code; together they are the text."""
    pieces: list[str] = []
    position = 0
    for fence in FENCE.finditer(text):
        pieces += SENTENCE.findall(text[position : fence.start()])
        pieces.append(fence.group())
        position = fence.end()
    pieces += SENTENCE.findall(text[position:])
    return [piece for piece in pieces if piece]


def _plain(title: str) -> str:
    return " ".join(title.replace("*", "").split())


# --- What programs ask for themselves -----------------------------------------------------------


def done(task: Task, messages: Sequence[Message]) -> str:
    """What a chat program asks a model for, made from the conversation itself."""
    asked = questions.asked_in(messages) or _told_in(messages)
    if task is Task.TITLE:
        name = title(asked)
        return json.dumps({"title": name}, ensure_ascii=False) if _wants_json(messages) else name
    if task is Task.SUMMARY:
        words = wording_for(asked[0] if asked else "")
        return "\n".join(
            [words.questions, *(f"- {questions.shortened(text, 200)}" for text in asked)]
        )
    empty: dict[Task, dict[str, list[str]]] = {
        Task.TAGS: {"tags": []},
        Task.FOLLOW_UPS: {"follow_ups": []},
        Task.QUERIES: {"queries": []},
    }
    return json.dumps(empty.get(task, {"text": ""}))


def title(asked: Sequence[str]) -> str:
    """A few words of the first question that is one."""
    text = next((text for text in asked if not questions.is_small_talk(text)), "")
    text = " ".join(text.split())
    if not text:
        return wording_for(asked[0] if asked else "").new_chat
    if is_chinese(text):
        return re.split(r"[，。？！；,?!;]", text)[0][:TITLE_CHARACTERS]
    words = text.split(" ")
    return " ".join(words[:TITLE_WORDS]).strip(" ,.;:?!\"'")[:80]


def _told_in(messages: Sequence[Message]) -> list[str]:
    """What the user said, of a conversation that is quoted inside an order."""
    return [
        line.partition(":")[2].strip()
        for line in text_of(messages[-1]).splitlines()
        if re.match(r"\s*user\s*:", line, re.I) and line.partition(":")[2].strip()
    ]


def _wants_json(messages: Sequence[Message]) -> bool:
    return '"title"' in text_of(messages[-1])


def pieces(text: str) -> Iterator[str]:
    """An answer in the pieces that it is streamed in: lines."""
    yield from text.splitlines(keepends=True)
