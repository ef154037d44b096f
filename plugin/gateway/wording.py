"""What the gateway says in answers, in the language of the question, not of the admin."""

import re
from dataclasses import dataclass

from retrieval.fusion import script_of
from retrieval.types import Script

#: Kana and hangul: written with the script's thresholds, but not in Chinese.
NOT_CHINESE = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True)
class Wording:
    sources: str
    helped: str
    yes: str
    no: str
    nothing: str
    found: str
    perhaps: str
    greeting: str
    broken: str
    new_chat: str
    questions: str


ENGLISH = Wording(
    sources="Sources",
    helped="Did this help?",
    yes="Yes",
    no="No",
    nothing="The knowledge base has nothing on this question.",
    found="From the knowledge base:",
    perhaps="I found no certain answer. These passages come closest:",
    greeting="Hello! Ask me something that the knowledge base may cover.",
    broken="The language model broke off here. Please ask again.",
    new_chat="New chat",
    questions="The user asked:",
)
CHINESE = Wording(
    sources="来源",
    helped="有帮助吗？",
    yes="有",
    no="没有",
    nothing="知识库中没有与这个问题有关的内容。",
    found="知识库中的相关内容：",
    perhaps="没有找到确切的答案，最接近的内容如下：",
    greeting="你好！请提出知识库可能涵盖的问题。",
    broken="语言模型在此中断了，请重新提问。",
    new_chat="新的聊天",
    questions="用户问过：",
)


def is_chinese(text: str) -> bool:
    return script_of(text) is Script.CJK and not NOT_CHINESE.search(text)


def wording_for(question: str) -> Wording:
    return CHINESE if is_chinese(question) else ENGLISH
