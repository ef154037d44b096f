import pytest

from retrieval.exceptions import InvalidFilter
from retrieval.filters import MAX_FIELDS, MAX_VALUES, documents_matching
from retrieval.indexing import _attributes as attributes_of
from retrieval.models import Attribute, Document, Revision
from retrieval.types import MetadataValue

pytestmark = pytest.mark.django_db


@pytest.fixture
def pages(collection):
    """Documents as the worker leaves them, without the work."""
    rows: dict[str, dict[str, MetadataValue]] = {
        "a.md": {"lang": "en", "date": "2024-01-15", "priority": 1, "reviewed": True,
                 "tags": ["linux", "backup"]},
        "b.md": {"lang": "zh", "date": "2024-06-01", "priority": 2.5, "reviewed": False,
                 "tags": ["windows"]},
        "c.md": {"lang": "zh", "date": "2025-02-01", "priority": 10, "tags": "linux"},
        "d.md": {"title": "D"},
    }  # fmt: skip
    for name, metadata in rows.items():
        document = Document.objects.create(collection=collection, external_id=name)
        document.live_revision = document.latest_revision = Revision.objects.create(
            document=document, number=1, filename=name, size=1, metadata=metadata
        )
        document.save()
        Attribute.objects.bulk_create(attributes_of(document, metadata))


@pytest.fixture
def matching(pages, collection):
    def names(filter):
        found = documents_matching(collection.pk, filter)
        rows = Document.objects.in_bulk(found).values()
        return "".join(sorted(row.external_id[0] for row in rows))

    return names


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({}, "abcd"),
        ({"lang": "zh"}, "bc"),
        ({"lang": {"eq": "zh"}}, "bc"),
        ({"lang": "ZH"}, ""),
        ({"lang": ["en", "zh"]}, "abc"),
        ({"lang": {"in": ["en", "fr"]}}, "a"),
        ({"lang": {"ne": "zh"}}, "ad"),
        ({"tags": "linux"}, "ac"),
        ({"tags": ["backup", "windows"]}, "ab"),
        ({"tags": {"ne": "linux"}}, "bd"),
        ({"reviewed": True}, "a"),
        ({"reviewed": False}, "b"),
        ({"reviewed": {"ne": True}}, "bcd"),
        ({"priority": 1}, "a"),
        ({"priority": 2.5}, "b"),
        ({"priority": {"gt": 1}}, "bc"),
        ({"priority": {"gte": 1, "lt": 10}}, "ab"),
        ({"priority": [1, 10]}, "ac"),
        ({"date": {"gte": "2024-06-01"}}, "bc"),
        ({"date": {"gt": "2024-06-01"}}, "c"),
        ({"date": {"gte": "2024-01-01", "lt": "2025-01-01"}}, "ab"),
        ({"date": "2024-01-15"}, "a"),
        ({"lang": "zh", "tags": "linux"}, "c"),
        ({"external_id": "a.md"}, "a"),
        ({"external_id": ["a.md", "d.md"]}, "ad"),
        ({"origin": "upload"}, "abcd"),
        ({"origin": {"ne": "upload"}}, ""),
        ({"nobody": "wrote this"}, ""),
        ({"nobody": {"ne": "wrote this"}}, "abcd"),
        ({"title": "D"}, "d"),
        ({"lang": "'; DROP TABLE retrieval_document; --"}, ""),
        ({"lang__startswith": "z"}, ""),
    ],
    ids=str,
)
def test_a_filter_leaves_these_documents(matching, filter, expected):
    assert matching(filter) == expected


@pytest.mark.parametrize(
    ("filter", "field"),
    [
        ({"lang": None}, "lang"),
        ({"lang": {}}, "lang"),
        ({"lang": []}, "lang"),
        ({"lang": {"like": "z%"}}, "lang"),
        ({"lang": {"$eq": "zh"}}, "lang"),
        ({"lang": {"in": "zh"}}, "lang"),
        ({"lang": {"in": []}}, "lang"),
        ({"lang": {"eq": ["zh"]}}, "lang"),
        ({"lang": [["zh"]]}, "lang"),
        ({"lang": [None]}, "lang"),
        ({"lang": {"eq": {"eq": "zh"}}}, "lang"),
        ({"lang": {"gt": None}}, "lang"),
        ({"lang": list(range(MAX_VALUES + 1))}, "lang"),
        ({"priority": 10**400}, "priority"),
        ({"priority": float("inf")}, "priority"),
        ({"lang": "a\0b"}, "lang"),
        ({"lang": "\ud800"}, "lang"),
        ({"lang": ["fine", "\udfff"]}, "lang"),
    ],
    ids=str,
)
def test_a_wrong_filter_is_refused_by_the_name_of_its_field(matching, filter, field):
    with pytest.raises(InvalidFilter, match=f"filter.{field}"):
        matching(filter)


@pytest.mark.parametrize("key", ["a\0b", "\ud800"])
def test_a_wrong_field_name_is_refused(matching, key):
    with pytest.raises(InvalidFilter):
        matching({key: 1})


def test_too_many_fields_are_refused(matching):
    assert matching({f"f{number}": 1 for number in range(MAX_FIELDS)}) == ""
    with pytest.raises(InvalidFilter, match=str(MAX_FIELDS)):
        matching({f"f{number}": 1 for number in range(MAX_FIELDS + 1)})


def test_what_is_deleted_matches_nothing(matching):
    Document.objects.get(external_id="b.md").tombstone()
    assert matching({"lang": "zh"}) == "c"


def test_real_front_matter_is_matched_and_replaced_by_the_next_version(add, collection):
    header = "lang: zh\ndate: 2024-06-01\npriority: 2.5\nreviewed: false\ntags: [a, b]"
    document = add("e.md", f"---\n{header}\n---\nSome words about backups.\n")
    for filter in (
        {"lang": "zh"},
        {"date": {"gte": "2024-06-01", "lte": "2024-06-01"}},
        {"priority": {"gt": 2, "lt": 3}},
        {"reviewed": False},
        {"tags": "b"},
    ):
        assert documents_matching(collection.pk, filter) == [document.pk], filter
    add("e.md", "---\nlang: fr\n---\nOther words about backups.\n")
    assert documents_matching(collection.pk, {"lang": "zh"}) == []
    assert documents_matching(collection.pk, {"lang": "fr"}) == [document.pk]
    assert Attribute.objects.filter(document=document).count() == 1
