"""What happens in a simulated month, drawn before it begins: the same seed, the same month."""

import random
import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from benchmarks.quality import Corpus
from retrieval.likeness import question_key
from retrieval.questions import Question, normalised

DAYS = 30
#: Questions on a day, in each language; people who ask them.
QUESTIONS, PEOPLE = 20, 40
#: Of the documents, those that the knowledge base lacks; of the questions on a day, those that
#: are about one of them.
WITHHELD = 0.1
#: Of the questions on withheld documents, those that may be asked; the others are only measured.
ASKED = 0.5
#: Of the people who were not answered, those who say what would have been right; of those who
#: were, those who say so.
CORRECTING, PRAISING = 0.7, 0.2
#: Of the corrections, those that are a whole sentence; the others are the words of the answer.
SENTENCES = 0.5
#: Questions on the other documents that nobody asks, in each language: they must not get worse.
OTHERS = 150
#: Of those documents, questions that the golden set has from the start, in each language.
GOLDEN = 75

#: What English questions are made of; without it stands what somebody types who is in a hurry.
FILLERS = """
a an and are be been by can did do does for from had has have how in is it of on or that the their
there these this those to was were what when where which who whom whose why will with would
"""
CHINESE = re.compile("[\u4e00-\u9fff]")
#: The same of Chinese questions.
CHINESE_FILLERS = re.compile(
    "请问|为什么|什么|为何|怎样|如何|哪些|哪里|哪个|多少|是否|有没有|[的了吗呢是在有？?]"
)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*")


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asks something, and says what they think of the answer, if they do."""

    person: str
    question: Question
    correction: str  #: what is said if the answer is not there; empty: nothing
    praises: bool  #: if it is


@dataclass(frozen=True, slots=True)
class Month:
    withheld: frozenset[str]  #: names of documents that are not ingested
    days: tuple[tuple[Asked, ...], ...]
    asked: tuple[Question, ...]  #: on withheld documents, by somebody, on some day
    reworded: tuple[Question, ...]  #: the same in other words, which nobody uses
    never_asked: tuple[Question, ...]  #: other questions on the same documents
    others: tuple[Question, ...]  #: on all other documents; nobody asks them
    golden: tuple[Question, ...]  #: on those, known to be answered by them


def plan_month(corpora: Sequence[Corpus], seed: int, days: int = DAYS) -> Month:
    """Draw a month. Each language has its own share of everything."""
    parts = [
        _plan_language(corpus, random.Random(f"{seed}-{corpus.slug}"), days) for corpus in corpora
    ]
    mixing = random.Random(seed)
    mixed = []
    for of_a_day in zip(*(part.days for part in parts), strict=True):
        asked = [one for part in of_a_day for one in part]
        mixing.shuffle(asked)
        mixed.append(tuple(asked))
    return Month(
        withheld=frozenset().union(*(part.withheld for part in parts)),
        days=tuple(mixed),
        asked=_joined(part.asked for part in parts),
        reworded=_joined(part.reworded for part in parts),
        never_asked=_joined(part.never_asked for part in parts),
        others=_joined(part.others for part in parts),
        golden=_joined(part.golden for part in parts),
    )


def _joined(parts: Iterable[tuple[Question, ...]]) -> tuple[Question, ...]:
    return tuple(question for part in parts for question in part)


def _plan_language(corpus: Corpus, rng: random.Random, days: int) -> Month:
    names = sorted({name for question in corpus.questions for name in question.relevant})
    withheld = frozenset(rng.sample(names, round(WITHHELD * len(names))))
    # The same words about two documents are two questions of a benchmark, but one of a person.
    unique = {question_key(question.question): question for question in corpus.questions}
    questions = [question for question in unique.values() if question.quote]
    rng.shuffle(questions)
    missing = [question for question in questions if question.relevant & withheld]
    present = [question for question in questions if not question.relevant & withheld]
    may_be_asked = missing[: round(ASKED * len(missing))]
    others, golden = present[:OTHERS], present[OTHERS : OTHERS + GOLDEN]
    everyday = present[OTHERS + GOLDEN :]
    about_missing = round(WITHHELD * QUESTIONS)
    drawn = []
    for _day in range(days):
        wanted = rng.choices(may_be_asked, k=about_missing)
        wanted += rng.choices(everyday, k=QUESTIONS - about_missing)
        drawn.append(tuple(_somebody(rng, question, corpus) for question in wanted))
    asked = dict.fromkeys(one.question for day in drawn for one in day)
    heard = tuple(question for question in asked if question.relevant & withheld)
    return Month(
        withheld=withheld,
        days=tuple(drawn),
        asked=heard,
        reworded=tuple(other for question in heard for other in reword(question, unique.keys())),
        never_asked=tuple(missing[len(may_be_asked) :]),
        others=tuple(others),
        golden=tuple(golden),
    )


def _somebody(rng: random.Random, question: Question, corpus: Corpus) -> Asked:
    correction = question.quote
    if rng.random() < SENTENCES:
        (name,) = question.relevant
        text = (corpus.folder / name).read_text(encoding="utf-8")
        correction = sentence_with(correction, text)
    return Asked(
        person=f"person-{rng.randrange(PEOPLE) + 1:02}",
        question=question,
        correction=correction if rng.random() < CORRECTING else "",
        praises=rng.random() < PRAISING,
    )


def sentence_with(answer: str, text: str) -> str:
    """The first sentence of a text that holds an answer; the answer itself if none does."""
    return next((part for part in SENTENCE_END.split(text) if answer in part), answer)


def reword(question: Question, known: AbstractSet[str]) -> list[Question]:
    """The same question in a hurry, and with a preface; without those that somebody asks.

    `known` holds their `question_key`s.
    """
    text = question.question.strip()
    if CHINESE.search(text):
        words = CHINESE_FILLERS.sub(" ", text)
        preface = f"你好，我想知道，{text}"
    else:
        bare = (word.strip("?,.;:!\"'") for word in text.split())
        words = " ".join(word for word in bare if word.lower() not in FILLERS.split())
        preface = f"Hello, I would like to know: {text[:1].lower()}{text[1:]}"
    variants = (" ".join(words.split()), preface)
    return [
        Question(variant, question.relevant, quote=question.quote)
        for variant in variants
        if variant and question_key(variant) not in known
    ]


# --- Recall ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A question and answer that was accepted: where it is found, and what it says."""

    document: str  #: external id
    answer: str
    about: frozenset[str]  #: names of the documents that the corrected questions are about

    def answers(self, question: Question) -> bool:
        """Whether it was made of a correction on the same document, and holds the words that
        answer: four points are no answer to another question whose answer is four."""
        return bool(self.about & question.relevant) and (
            normalised(question.quote) in normalised(self.answer)
        )


def rank_of(found: Sequence[str], question: Question, entries: Iterable[Entry]) -> int | None:
    """Where, from 1, the question's document or an entry that answers it stands among what was
    found; None where neither does."""
    right = question.relevant | {entry.document for entry in entries if entry.answers(question)}
    distinct = list(dict.fromkeys(found))
    return min((distinct.index(name) + 1 for name in right if name in distinct), default=None)
