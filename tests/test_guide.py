"""The guide in kb/ is what a newcomer asks first: it must be whole and must be found."""

from datetime import date
from pathlib import Path

import pytest
from django.conf import settings

from retrieval.folders import FolderReport, accept_folders
from retrieval.models import Collection, Document, Revision
from retrieval.parsers.markdown import split_front_matter
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.conftest import index_everything

KB = settings.BASE_DIR / "kb"
NOTES = sorted(KB.rglob("*.md"))
QUESTIONS = {
    "How do I connect NextChat?": "en/connect-nextchat.md",
    "How do I change the port?": "en/ports-and-addresses.md",
    "I forgot my admin password": "en/install-and-run.md",
    "Why did my document fail?": "en/failed-documents.md",
    "What does confidence mean?": "en/how-search-works.md",
    "如何上传文档？": "zh/upload-documents.md",
    "怎么修改端口？": "zh/ports-and-addresses.md",
    "怎么更换嵌入模型？": "zh/embedding-model.md",
    "密钥泄露了怎么办？": "zh/api-keys-and-security.md",
    "断电会丢失数据吗？": "zh/nothing-gets-lost.md",
}


def name_of(path: Path) -> str:
    return path.relative_to(KB).as_posix()


@pytest.mark.parametrize("path", NOTES, ids=name_of)
def test_every_note_says_what_it_is(path):
    metadata, text = split_front_matter(path.read_text())
    assert metadata["title"]
    assert metadata["lang"] == path.parent.name
    assert metadata["tags"]
    assert metadata["audience"]
    assert date.fromisoformat(str(metadata["updated"]))
    assert text.lstrip().startswith(f"# {metadata['title']}\n")


def test_every_note_exists_in_both_languages():
    english = {path.name for path in (KB / "en").iterdir()}
    chinese = {path.name for path in (KB / "zh").iterdir()}
    assert english == chinese
    assert len(english) >= 10


@pytest.fixture
def guide(collection: Collection) -> FolderReport:
    """What reading the guide into an empty collection reported, everything indexed."""
    report = accept_folders(collection, [KB], prune=True)
    index_everything()
    return report


def test_every_note_becomes_searchable(guide):
    assert guide.failed == []
    assert sorted(guide.added) == sorted(map(name_of, NOTES))
    assert Document.objects.searchable().count() == len(NOTES)
    assert not Revision.objects.exclude(state=Revision.State.INDEXED).exists()


def test_the_right_note_answers_what_newcomers_ask(guide):
    places = {}
    for question, expected in QUESTIONS.items():
        response = search(SearchRequest(query=question, collection="docs", top_k=3, channel="test"))
        assert not response.degraded
        found = [hit.external_id for hit in response.hits]
        places[question] = found.index(expected) + 1 if expected in found else 0
    assert [question for question, place in places.items() if place == 0] == []
    assert sum(place == 1 for place in places.values()) >= len(QUESTIONS) - 1, places
