"""Requests that are no question: chat programs have models write titles, summaries and tags.

They are recognised by how they begin, as programs send fixed texts: nothing is searched for
them, and they go on to the language model as they came.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

from plugin.gateway.conversation import Message, text_of


class Task(StrEnum):
    TITLE = "title"
    SUMMARY = "summary"
    TAGS = "tags"
    FOLLOW_UPS = "follow_ups"
    QUERIES = "queries"
    OTHER = "other"


#: How NextChat asks for a title, in each of its languages.
NEXTCHAT_TITLES = (
    "استخدم أربع إلى خمس كلمات",
    "চার থেকে পাঁচটি শব্দ ব্যবহার করে",
    "使用四到五个字直接返回这句话的简要主题",
    "Použijte čtyři až pět slov pro stručné téma",
    "Find en kort overskrift med 4-5 ord",
    "Geben Sie ein kurzes Thema in vier bis fünf Wörtern zurück",
    "Please generate a four to five word title",
    "Devuelve un tema breve de esta frase en cuatro a cinco palabras",
    "Utilisez quatre à cinq mots pour retourner le sujet succinct",
    "Gunakan empat hingga lima kata untuk langsung memberikan ringkasan topik",
    "Riporta il tema di questa frase in modo conciso",
    "この文の簡潔なテーマを四から五文字で",
    "네 글자에서 다섯 글자로 이 문장의 간략한 주제를",
    "Bruk fire til fem ord for å returnere",
    "Por favor, gere um título de quatro a cinco palavras",
    "Укажите краткую тему этого сообщения в четырех-пяти словах",
    "Prosím, vygenerujte štvor- až päťslovný titul",
    "Bu cümlenin dört ila beş kelimelik kısa başlığını",
    "Use the language used by the user (e.g. en for english conversation",
    "Sử dụng bốn đến năm từ để trả lại chủ đề tóm tắt",
)
#: Open WebUI begins all of its own requests alike, and its answers from documents as well.
OPEN_WEBUI = re.compile(r"\s*###\s*Task:\s*(?P<what>.+)", re.I | re.S)
OPEN_WEBUI_TASKS = (
    (re.compile(r"respond to the user", re.I), None),
    (re.compile(r"generate .{0,40}\btitle\b", re.I), Task.TITLE),
    (re.compile(r"generate .{0,40}\btags\b", re.I), Task.TAGS),
    (re.compile(r"suggest .{0,60}follow[- ]up", re.I), Task.FOLLOW_UPS),
    (re.compile(r".{0,120}search quer", re.I | re.S), Task.QUERIES),
)
#: Other programs: an order to write a title, with a limit of words or for "the conversation".
TITLE = re.compile(
    r"\s*(?:please\s+)?(?:generate|create|write|provide|give|suggest|come up with|based on)\b"
    r"(?=.{0,400}\b(?:title|name)\b)"
    r"(?=.{0,400}\b(?:\d+[- ]words?|words? or (?:less|fewer)|word-or-less|concise|short|brief)\b)"
    r"(?=.{0,400}\b(?:conversation|chat|dialog(?:ue)?|discussion)\b)",
    re.I | re.S,
)
CHINESE_TITLE = re.compile(
    r"\s*(?:请|請)?(?:你)?(?:根据|根據|为|為|给|給|用|将|將|总结|總結|生成|概括).{0,60}"
    r"(?:对话|對話|会话|會話|聊天).{0,80}(?:标题|標題|主题|主題)",
    re.S,
)
LONGEST_ORDER = 4000


def task_of(messages: Sequence[Message]) -> Task | None:
    """What a request is for, if it is no question."""
    last = messages[-1]
    text = text_of(last)
    if last["role"] in {"system", "developer"}:
        # An order behind the conversation; NextChat asks for summaries so.
        is_talk = any(message["role"] in {"user", "assistant"} for message in messages)
        return (Task.TITLE if _is_title(text) else Task.SUMMARY) if is_talk else None
    if last["role"] != "user":
        return None
    if found := OPEN_WEBUI.match(text):
        for pattern, task in OPEN_WEBUI_TASKS:
            if pattern.match(found["what"]):
                return task
        return Task.OTHER
    return Task.TITLE if _is_title(text) else None


def _is_title(text: str) -> bool:
    text = " ".join(text.split())
    if text.startswith(NEXTCHAT_TITLES):
        return True
    return len(text) <= LONGEST_ORDER and bool(TITLE.match(text) or CHINESE_TITLE.match(text))
