"""Which questions ask the same. Pure functions.

Where the embedding model understands the script, questions are alike by their vectors. Else, and
where no vector is to be had, by the characters and pairs of characters that they share, without
the words that every question has: Chinese says the same in another order more often than not.
"""

import re
import unicodedata
from collections.abc import Set

from retrieval.hashing import text_hash
from retrieval.lexical.tokenizer import CJK_RUN, tokenize

#: From here on two questions are one: by the likeness of their vectors alone, by it and the share
#: of their terms, and by that share alone where there are no vectors. "Install" and "uninstall" are
#: nearer to each other than many ways to say the same: rather two groups than a wrong one. 0 is
#: what the model sees in unrelated questions; with all-MiniLM-L6-v2 these are cosines of 0.8, 0.7.
SAME_MEANING, LIKE_MEANING, SAME_WORDS = 0.777, 0.665, 0.52
#: What a question is made of, not what it is about. Chinese ones are cut out before it is paired.
COMMON = """
a about am an and any are as at be been by can could did do does doing for from had has have how i
if in into is it its just may me my of on or our please shall should so some tell than that the
their them then there these they this those to us was we were what when where which who whom whose
why will with would you your
"""
ENGLISH = frozenset(COMMON.split())
CHINESE = re.compile(
    "请问一下|请问|请|怎么样|怎么|怎样|如何|什么时候|什么|为什么|为何|哪里|哪些|哪个|哪|"
    "多少|能不能|可不可以|可以|能否|是否|是不是|有没有|应该|需要|我们|你们|我|你|您|一下|"
    "吗|呢|吧|啊|呀|的|了|是|在|有|要|能|会|把|被|和|与|及|或|对|让|给|才|都|就|想"
)
#: Of those, what makes a question one. Few documents say it, so a word index takes it for telling.
#: Only whole words: single characters are parts of others.
CHINESE_ASKING = re.compile(
    "请问一下|请问|怎么样|怎么|怎样|如何|什么时候|为什么|什么|为何|哪里|哪些|哪个|哪几|哪|多少|"
    "能不能|可不可以|能否|是否|是不是|有没有|谁|吗|呢"
)


def question_key(question: str) -> str:
    """The same for questions that differ only in case, width, blanks and punctuation."""
    folded = unicodedata.normalize("NFKC", question).casefold()
    kept = "".join(
        character if unicodedata.category(character)[0] in "LNMS" else " " for character in folded
    )
    return text_hash(" ".join(kept.split()) or folded.strip())


def terms(question: str) -> frozenset[str]:
    """What a question is about: its words; of Chinese its characters and their pairs.

    A question of nothing but common words keeps them.
    """
    bare = CHINESE.sub(" ", question)
    found = {term for term in tokenize(bare) if term not in ENGLISH}
    for run in CJK_RUN.finditer(bare):
        found |= set(run.group())
    return frozenset(found or tokenize(question))


def topic(question: str) -> str:
    """A Chinese question without what makes it one, for the word index: "红松分布在哪些地区" and
    "三文鱼分布在哪些地区" have little in common. One of nothing else keeps it.

    English ones stay: there meaning weighs as much, and in short questions every word is needed.
    """
    kept = " ".join(CHINESE_ASKING.sub(" ", question).split())
    return kept if any(map(str.isalnum, kept)) else question


def numbers_of(terms: Set[str]) -> frozenset[str]:
    """What two questions must have in common: error 404 is not error 500."""
    return frozenset(term for term in terms if any(map(str.isdecimal, term)))


def shared(one: Set[str], other: Set[str]) -> float:
    """Dice's coefficient of two sets of terms, in [0, 1]."""
    both = len(one) + len(other)
    return 2 * len(one & other) / both if both else 0.0
