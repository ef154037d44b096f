"""The passages that are put in front of the model: which, and how much of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.utils import timezone

from plugin.gateway import questions
from plugin.gateway.wording import Wording, is_chinese, wording_for
from plugin.serializers import SearchInput
from retrieval import prompts
from retrieval.lexical.tokenizer import CJK_RUN
from retrieval.models import Collection
from retrieval.search import search
from retrieval.types import Hit, SearchRequest, SearchResponse

CHANNEL = "gateway"
#: Characters of alphabetic text in one token of a language model, roughly. Chinese has about one
#: token for each character.
CHARACTERS_PER_TOKEN = 3.5
#: Tokens below which a cut passage is not worth its place.
LEAST = 40
CONFIDENCE = {"none": 0, "low": 1, "high": 2}
WISHES = ("filter", "top_k", "mode", "min_score", "context")
_search_input = SearchInput()

NOTHING_ENGLISH = """\
The knowledge base "{collection}" has no passage on the last message. If that is a question on \
facts, say that the knowledge base does not cover it, and do not make up an answer. To greetings \
and to remarks on this conversation, answer as usual."""
NOTHING_CHINESE = """\
“{collection}”知识库中没有与最后一条消息有关的段落。如果它询问的是事实，请说明知识库没有涉及，\
不要编造答案。对于问候和关于本次对话的话语，照常回答即可。"""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage as the model sees it."""

    number: int  #: from 1; it is cited by it
    hit: Hit
    text: str  #: cut to what fits

    @property
    def title(self) -> str:
        path = [self.hit.title, *self.hit.heading_path]
        return " › ".join(dict.fromkeys(filter(None, path)))


@dataclass(frozen=True, slots=True)
class Found:
    """What is known about a question."""

    question: str  #: as the user put it
    searched: str  #: completed from the conversation
    collection: Collection
    response: SearchResponse
    passages: tuple[Passage, ...]  #: none where nothing can be relied on

    @property
    def wording(self) -> Wording:
        return wording_for(self.question)


def find(
    collection: Collection, asked: Sequence[str], wishes: dict[str, Any], asker: str = ""
) -> Found:
    """Search for the last of the user's questions. Raises what `search` raises."""
    question = asked[-1]
    known = {name: wishes[name] for name in WISHES if name in wishes}
    wanted = _search_input.run_validation({**known, "query": "?"})
    request = SearchRequest(
        query=questions.shortened(question),
        collection=collection.slug,
        channel=CHANNEL,
        asker=asker,
        **{name: wanted[name] for name in WISHES if name in wanted},
    )
    request = replace(request, query=_query(request, asked))
    response = search(request)
    hits = response.hits if response.confidence != "none" else ()
    passages = within(hits, settings.GATEWAY_TOKENS)
    return Found(question, request.query, collection, response, passages)


def _query(request: SearchRequest, asked: Sequence[str]) -> str:
    """The last question, or it and those before it: see `questions`."""
    alone = request.query
    points_back = questions.points_back(asked[-1])
    if len(asked) < 2 or not (points_back or questions.is_short(asked[-1])):
        return alone
    together = questions.completed(asked)
    by_itself, completed = (
        CONFIDENCE[search(replace(request, query=query, is_logged=False)).confidence]
        for query in (alone, together)
    )
    if points_back:
        return alone if by_itself > completed else together
    return together if completed > by_itself else alone


# --- Within the budget ----------------------------------------------------------------------


def tokens_in(text: str) -> int:
    """An estimate: the tokenizer of the language model is not known here."""
    characters = sum(len(run.group()) for run in CJK_RUN.finditer(text))
    return round(characters + (len(text) - characters) / CHARACTERS_PER_TOKEN)


def within(hits: Sequence[Hit], budget: int) -> tuple[Passage, ...]:
    """The best passages that fit, the last one cut; at least the beginning of the first."""
    passages: list[Passage] = []
    for hit in hits:
        passage = Passage(len(passages) + 1, hit, hit.text.strip())
        left = budget - tokens_in(passage.title) - 4
        if tokens_in(passage.text) > left:
            if left < LEAST and passages:
                break
            passages.append(replace(passage, text=cut(passage.text, max(left, LEAST))))
            break
        budget = left - tokens_in(passage.text)
        passages.append(passage)
    return tuple(passages)


def cut(text: str, budget: int) -> str:
    """The beginning of a text, up to the end of a sentence or line where one is near."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tokens_in(text[:middle]) <= budget else (low, middle - 1)
    kept = text[:low]
    end = max(kept.rfind(mark) + len(mark) for mark in ("\n", ". ", "。", "！", "？", "! ", "? "))
    return f"{(kept[:end] if end > low // 2 else kept).rstrip()} …"


def shrunk(found: Found, share: float) -> Found:
    """The same with fewer passages, for a model whose context they did not fit into."""
    budget = max(int(settings.GATEWAY_TOKENS * share), LEAST)
    return replace(found, passages=within([item.hit for item in found.passages], budget))


# --- As instructions ------------------------------------------------------------------------


def instructions(found: Found) -> str:
    """What the model is told: the collection's template, in the language of the question."""
    chinese = is_chinese(found.question)
    values = {
        "passages": "\n\n".join(
            f"[{passage.number}] {passage.title}\n{passage.text}" for passage in found.passages
        ),
        "question": found.question,
        "collection": found.collection.title,
        "date": timezone.localdate().isoformat(),
    }
    if not found.passages:
        return prompts.fill(NOTHING_CHINESE if chinese else NOTHING_ENGLISH, values)
    return prompts.fill(found.collection.prompt_in("zh" if chinese else "en"), values)
