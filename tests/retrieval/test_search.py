import pytest

from retrieval.exceptions import CollectionNotFound, InvalidRequest
from retrieval.models import Search
from retrieval.search import search
from retrieval.types import SearchRequest

pytestmark = pytest.mark.django_db


@pytest.fixture
def tools(add):
    add("tar.md", "# tar\n\nExtract files from an archive into a directory.")
    add("docker.md", "# docker ps\n\nList all running containers.")
    add("zh/tar.md", "# tar\n\n解压归档文件到指定目录。")


def ask(query, **options):
    return search(SearchRequest(query=query, collection="docs", **options))


def test_it_finds_by_meaning(tools):
    hit = ask("which programs run in isolation right now?").hits[0]
    assert hit.external_id == "docker.md"
    assert hit.distance is not None


def test_it_finds_chinese_words(tools):
    assert ask("解压归档").hits[0].external_id == "zh/tar.md"
