import pytest

from retrieval.exceptions import InvalidFilter
from retrieval.filters import MAX_FIELDS, MAX_VALUES, documents_matching
from retrieval.models import Attribute, Document

pytestmark = pytest.mark.django_db


@pytest.fixture
def pages(add):
    rows = {
        "a.md": "lang: en\ndate: 2024-01-15\npriority: 1\nreviewed: true\ntags: [linux, backup]",
        "b.md": "lang: zh\ndate: 2024-06-01\npriority: 2.5\nreviewed: false\ntags: [windows]",
        "c.md": "lang: zh\ndate: 2025-02-01\npriority: 10\ntags: linux",
        "d.md": "title: D",
    }
    for name, header in rows.items():
        text = f"---\n{header}\n---\nSome words about backups in {name}.\n"
        add(name, text, index=name == "d.md")


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


def test_a_new_version_replaces_the_values_of_the_old(add, matching):
    document = add("b.md", "---\nlang: fr\n---\nOther words about backups.\n")
    assert matching({"lang": "zh"}) == "c"
    assert matching({"lang": "fr"}) == "b"
    assert Attribute.objects.filter(document=document).count() == 1
