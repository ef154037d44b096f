"""What a tool's answer holds so that the visible answer of the model can hold it too.

NextChat forgets the answers of tools after one turn: only what the model writes stays. So every
answer brings a footer, ready to be copied, with the sources and the links to vote.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from plugin.links import passage_link, source_link, vote_link
from retrieval.fusion import script_of
from retrieval.surroundings import Extract
from retrieval.types import Hit, Script, SearchResponse

#: What may stand in an address; a bracket or a blank would end a link of Markdown.
SAFE = ":/?#@!$&'*+,;=%-._~"


@dataclass(frozen=True, slots=True)
class Wording:
    sources: str
    helped: str
    yes: str
    no: str


ENGLISH = Wording("Sources", "Did this help?", "Yes", "No")
CHINESE = Wording("来源", "有帮助吗？", "有", "没有")

FOUND = (
    "Answer from these results only, in the user's language, and put the number of the result "
    "behind each statement, like [1]. End your answer with the text of `footer`, word for word: "
    "the user needs its links. If the results do not answer the question, say so. To read on "
    "around a result call fetchPassage with its chunk_id."
)
UNSURE = (
    "No result answers the question for certain. Say what you are not sure of, or that the "
    "knowledge base does not say it. "
)
NOTHING = (
    "The knowledge base has nothing on this. Say so and do not answer from what you know "
    "yourself; you may search once more with other words. End your answer with the text of "
    "`footer`, word for word."
)


def search_answer(question: str, answer: SearchResponse) -> dict[str, Any]:
    """What NextChat's tool hands to the model: passages, their links, and how to use them."""
    words = CHINESE if script_of(question) is Script.CJK else ENGLISH
    query_id = answer.query_id
    sources = [source_of(number, hit) for number, hit in enumerate(answer.hits, start=1)]
    instruction = FOUND if answer.hits else NOTHING
    if answer.hits and answer.confidence == "none":
        instruction = UNSURE + FOUND
    rendered: dict[str, Any] = {
        "query_id": query_id,
        "confidence": answer.confidence,
        "instruction": instruction,
        "results": [
            {
                "number": number,
                "title": hit.title or hit.external_id,
                "heading_path": list(hit.heading_path),
                "text": hit.text,
                "score": hit.score,
                "chunk_id": hit.chunk_id,
                "source": source,
            }
            for number, (hit, source) in enumerate(zip(answer.hits, sources, strict=True), start=1)
        ],
        "footer": footer(words, sources, query_id),
        "feedback_up": vote_link(query_id, "up"),
        "feedback_down": vote_link(query_id, "down"),
    }
    if answer.degraded:
        rendered["degraded"] = (
            f"A part of the search is away ({answer.degraded}): results may be worse than usual."
        )
    return rendered


def passage_answer(extract: Extract) -> dict[str, Any]:
    """A passage and the text around it, with the link that the model may quote."""
    link = passage_link(extract.chunk_id, extract.url)
    return {
        "chunk_id": extract.chunk_id,
        "title": extract.title or extract.external_id,
        "heading_path": list(extract.heading_path),
        "before": extract.before,
        "text": extract.text,
        "after": extract.after,
        "has_more_before": extract.has_more_before,
        "has_more_after": extract.has_more_after,
        "source": markdown_link(name_of(extract.title or extract.external_id, ()), link),
    }


def source_of(number: int, hit: Hit) -> str:
    name = name_of(hit.title or hit.external_id, hit.heading_path)
    return f"[{number}] {markdown_link(name, source_link(hit))}"


def name_of(title: str, heading_path: Sequence[str]) -> str:
    """The document's title, and the heading under which the passage stands."""
    heading = heading_path[-1] if heading_path else ""
    return f"{title} › {heading}" if heading and heading != title else title


def markdown_link(text: str, url: str) -> str:
    for special in "\\`*_[]<>|":
        text = text.replace(special, f"\\{special}")
    return f"[{' '.join(text.split())}]({quote(url, safe=SAFE)})"


def footer(words: Wording, sources: Sequence[str], query_id: str) -> str:
    lines = ["---"]
    if sources:
        lines += [f"**{words.sources}**", "", *(f"- {source}" for source in sources), ""]
    up, down = vote_link(query_id, "up"), vote_link(query_id, "down")
    lines.append(f"{words.helped} [👍 {words.yes}]({up}) · [👎 {words.no}]({down})")
    return "\n".join(lines)
