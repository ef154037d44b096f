"""What ends an answer: the sources that it cited, and links to say whether it helped."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from plugin import links
from plugin.gateway.context import Found, Passage
from plugin.gateway.wording import CHINESE, ENGLISH

#: A model cites "[1]", "[1, 3]", "[1][2]", "【2】"; some write "[^1]" or "[1†source]".
CITED = re.compile(r"[\[【]\^?\s*(\d{1,3}(?:\s*[,，、;]\s*\d{1,3})*)\s*(?:†[^\]】]*)?[\]】]")
CODE = re.compile(r"```.*?(?:```|$)|`[^`\n]*`", re.S)
#: What Markdown would read as something else in the text of a link.
SPECIAL = re.compile(r"([\\`*_\[\]<>|])")
#: Where a footer of ours begins in an earlier answer, up to its end.
FOOTER = re.compile(
    rf"\n+---\n+(?:\*\*(?:{ENGLISH.sources}|{CHINESE.sources})\*\*|"
    rf"(?:{re.escape(ENGLISH.helped)}|{CHINESE.helped}) \[👍|"
    rf"_(?:{re.escape(ENGLISH.nothing)}|{CHINESE.nothing})_\n).*\Z",
    re.S,
)


def footer(found: Found, answer: str, *, says_nothing: bool = True) -> str:
    """Markdown to put below an answer.

    `says_nothing`: where nothing was found, whether the footer is to say so.
    """
    words = found.wording
    lines = ["", "", "---"]
    shown = cited(found.passages, answer)
    if shown:
        lines += [f"**{words.sources}**", ""]
        lines += [
            f"- [{item.number}] {_link(item.title, links.source_link(item.hit))}" for item in shown
        ]
        lines += [""]
    elif says_nothing:
        lines += [f"_{words.nothing}_", ""]
    query_id = found.response.query_id
    up, down = links.vote_link(query_id, "up"), links.vote_link(query_id, "down")
    lines += [f"{words.helped} [👍 {words.yes}]({up}) · [👎 {words.no}]({down})"]
    return "\n".join(lines)


def cited(passages: Sequence[Passage], answer: str) -> list[Passage]:
    """Those that an answer cites by their number; all where it cites none."""
    numbers = {
        int(number)
        for match in CITED.finditer(CODE.sub(" ", answer))
        for number in re.findall(r"\d+", match[1])
    }
    return [item for item in passages if item.number in numbers] or list(passages)


def without_footer(answer: str) -> str:
    return FOOTER.sub("", answer)


def as_data(found: Found, answer: str) -> dict[str, Any]:
    """The same for programs, as the field `kbadmin` of an answer or of a stream's last chunk."""
    shown = {item.number for item in cited(found.passages, answer)}
    query_id = found.response.query_id
    return {
        "query_id": query_id,
        "collection": found.collection.slug,
        "question": found.searched,
        "confidence": found.response.confidence,
        "degraded": bool(found.response.degraded),
        "sources": [
            {
                "number": item.number,
                "title": item.hit.title,
                "heading_path": list(item.hit.heading_path),
                "url": links.source_link(item.hit),
                "score": item.hit.score,
                "chunk_id": item.hit.chunk_id,
                "document_id": item.hit.document_id,
                "external_id": item.hit.external_id,
                "cited": item.number in shown,
            }
            for item in found.passages
        ],
        "feedback": {
            "up": links.vote_link(query_id, "up"),
            "down": links.vote_link(query_id, "down"),
        },
    }


def _link(title: str, url: str) -> str:
    text = SPECIAL.sub(r"\\\1", " ".join(title.split())) or url
    return f"[{text}]({quote(url, safe=SAFE)})" if url else text


#: All that an address may hold, but for brackets and blanks, at which a link would end.
SAFE = ":/?#@!$&'*+,;=%-._~"
