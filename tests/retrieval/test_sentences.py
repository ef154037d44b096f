"""Sentences: English to programs, translated to people, and the same again after being stored."""

import copy
import json

import pytest
from django.utils import translation

from retrieval.sentences import Sentence, listed

#: Of Django's own catalogue, so that the test needs none of ours.
MANY, ONE = "Invalid page (%(page_number)s): %(message)s", "That page contains no results"


@pytest.fixture
def sentence():
    return Sentence(MANY, page_number=7, message=Sentence(ONE))


def test_it_is_its_english_text_in_every_language(sentence):
    with translation.override("zh-hans"):
        assert sentence == f"Invalid page (7): {ONE}"
        assert json.dumps(sentence) == f'"Invalid page (7): {ONE}"'


def test_it_is_translated_when_it_is_read_with_the_sentences_in_it(sentence):
    with translation.override("zh-hans"):
        assert sentence.translated.startswith("非法页面 (7)")
        assert ONE not in sentence.translated
    with translation.override("en"):
        assert sentence.translated == sentence


@pytest.mark.parametrize("again", [
    lambda it: Sentence.from_data(json.loads(json.dumps(it.as_data()))),
    copy.deepcopy,
])  # fmt: skip
def test_it_survives_being_stored(sentence, again):
    found = again(sentence)
    assert found == sentence
    with translation.override("zh-hans"):
        assert found.translated == sentence.translated != sentence


def test_per_cent_signs_are_values_only_where_there_are_values():
    assert Sentence("Write %20 for a space.").translated == "Write %20 for a space."
    assert Sentence("%(text)s", text="100 % sure %(text)s").translated == "100 % sure %(text)s"


def test_what_somebody_else_wrote_is_not_translated():
    foreign = Sentence.of(ONE)
    assert Sentence.of(foreign) is foreign
    with translation.override("zh-hans"):
        assert foreign.translated == ONE


def test_nothing_said_is_nothing_in_every_language():
    with translation.override("zh-hans"):
        assert Sentence().translated == ""


def test_a_list_is_joined_and_its_sentences_are_translated():
    assert listed([]) == ""
    assert listed(["a", "b", "c"]) == "a, b, c"
    with translation.override("zh-hans"):
        assert ONE not in listed([Sentence(ONE), "b"]).translated
