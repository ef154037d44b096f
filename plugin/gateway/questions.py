"""What to search for: the last question, completed from the conversation where it needs that.

The rule, which takes no language model:

1. A question that points back is searched together with the questions before it, back to the
   last one that stands alone: it goes on with "and …", "what about …", "那…呢？", or it says
   "it", "they", "这个", "上面" and little else. Only if that is less certain than the question
   by itself, the question by itself counts.
2. A question of two words (four Chinese characters) at most is searched by itself; together
   with those before only if that is more certain.
3. Any other question stands alone.

How certain an answer is, is the search's own confidence.
"""

import re
from collections.abc import Sequence

from plugin.gateway import housekeeping
from plugin.gateway.conversation import Message, text_of
from retrieval.fusion import cjk_share
from retrieval.lexical.tokenizer import CJK_RUN

#: Characters of a question, and of those before it that complete it.
MAX_QUESTION, MAX_BEFORE = 3000, 900
#: How many questions are gone back at most.
MAX_BACK = 4
#: Words (a Chinese character counts as half of one) up to which "it" points back.
FEW, SHORT = 8.0, 2.0

CONTINUES = re.compile(
    r"(?:(?:so|ok|okay|well|yes|no|thanks|thank you|great)[\s,.!]+)*(?:"
    r"(?:and|or|but|also|then)\b|"
    r"(?:what|how) about\b|what if\b|same (?:for|with)\b|what else\b|anything else\b|"
    r"(?:in|on|for|with|under|without|using) \S+(?: \S+)?\s*\??$|(?:why|how|how so)\s*\??$|"
    r"which (?:one|of)\b|tell me more\b|more (?:details?|about)\b|go on\b|continue\b|"
    r"for example\b|(?:can|could) you (?:explain|elaborate|expand|repeat|rephrase)\b)",
    re.I,
)
POINTS_BACK = re.compile(
    r"\b(?:it|its|itself|they|them|their|theirs|these|those|he|she|his|her|him|"
    r"(?:this|that|the same|the other|the first|the second|the last|the latter|the former)"
    r"(?= (?:one|case|way|step|option|file|command|error|method)s?\b|[\s?.!,]*$)|"
    r"(?:about|of|for|with|after|before|do|does|is|was|mean by|like) (?:this|that))\b",
    re.I,
)
#: "it" that points at nothing.
EXPLETIVE = re.compile(
    r"\b(?:is|was|does|would|will|can) it (?:possible|necessary|safe|ok|okay|allowed|better|take|"
    r"make sense|matter|cost|mean)\b|\bit(?:'s| is) (?:possible|necessary|not possible)\b",
    re.I,
)
CHINESE_CONTINUES = re.compile(
    r"(?:那么?|还有|另外|然后|而且|但是?|可是|不过|或者|以及|和|换成|要是|如果是|再比如|比如|继续|"
    r"详细|具体|为什么[?？]?$|怎么(?:做|办|弄)[?？]?$|举个?例)"
)
CHINESE_POINTS_BACK = re.compile(
    r"它们?|[这那](?:个|些|种|样|里|边|一|两|步|儿)|上面|上述|前者|后者|刚才|前面|同样|其中|此外|"
    r"他们?|她们?"
)
CHINESE_ELLIPSIS = re.compile(r"呢[?？。!！~]*$")
CHINESE_ASKS = re.compile(r"什么|怎[么样]|如何|哪|谁|多少|几|为何|吗|是否|能不能|可不可以")
USER_QUERY = re.compile(r"<(user_query|query)>\s*(?P<query>.+?)\s*</\1>", re.I | re.S)
SMALL_TALK = re.compile(
    r"\s*(?:(?:hi|hello|hey|good (?:morning|afternoon|evening|night)|"
    r"thanks?(?: you)?(?: (?:very|so) much| a lot)?|thx|ok(?:ay)?|great|cool|nice|perfect|bye|"
    r"goodbye|got it|你好|您好|嗨|哈喽|谢谢|多谢|感谢|好的?|明白了?|知道了|再见|拜拜|早上好|晚上好|"
    r"早安|晚安)(?:你|您|啦|了|呀|啊| there| again)?[\s,.!?，。！？~]*)+",
    re.I,
)


def question_in(messages: Sequence[Message]) -> str:
    """The last thing that the user asked; empty if there is none in words."""
    asked = asked_in(messages)
    return asked[-1] if asked else ""


def asked_in(messages: Sequence[Message]) -> list[str]:
    """Everything that the user asked, in order, without orders for titles and the like."""
    asked = []
    for message in messages:
        if message["role"] == "user" and housekeeping.task_of([message]) is None:
            text = text_of(message)
            if found := USER_QUERY.search(text):
                text = found["query"]
            if text.strip():
                asked.append(text.strip())
    return asked


def is_small_talk(question: str) -> bool:
    """A greeting or thanks and nothing else: there is nothing to search for."""
    return len(question) < 100 and SMALL_TALK.fullmatch(question) is not None


def length_of(question: str) -> float:
    """In words; a Chinese character counts as half of one."""
    characters = sum(len(run.group()) for run in CJK_RUN.finditer(question))
    return characters / 2 + len(re.findall(r"\w+", CJK_RUN.sub(" ", question)))


def points_back(question: str) -> bool:
    """Whether a question cannot be understood without those before it."""
    question = question.strip()
    few = length_of(question) <= FEW
    if cjk_share(question) > 0:
        if CHINESE_CONTINUES.match(question) and few:
            return True
        if CHINESE_ELLIPSIS.search(question) and few and not CHINESE_ASKS.search(question):
            return True
        if CHINESE_POINTS_BACK.search(question) and few:
            return True
    if CONTINUES.match(question) and few:
        return True
    return few and bool(POINTS_BACK.search(EXPLETIVE.sub(" ", question)))


def is_short(question: str) -> bool:
    return length_of(question) <= SHORT


def completed(asked: Sequence[str]) -> str:
    """The last question with those before it, back to one that stands alone."""
    *before, question = asked
    needed: list[str] = []
    for earlier in reversed(before[-MAX_BACK:]):
        if is_small_talk(earlier):
            continue
        needed.insert(0, earlier)
        if not (points_back(earlier) or is_short(earlier)):
            break
    told = " ".join(shortened(text, MAX_BEFORE // max(len(needed), 1)) for text in needed)
    return f"{told} {shortened(question, MAX_QUESTION)}".strip()


def shortened(text: str, limit: int = MAX_QUESTION) -> str:
    """Both ends of a text: what was pasted stands between what is asked."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]} {text[-limit // 2 :]}"
