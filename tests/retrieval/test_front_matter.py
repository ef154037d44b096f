import pytest

from retrieval.exceptions import FrontMatterMismatch, InvalidRequest
from retrieval.front_matter import check, check_schema

SCHEMA = {
    "type": "object",
    "required": ["lang"],
    "properties": {
        "lang": {"enum": ["en", "zh"]},
        "rank": {"type": "number"},
        "date": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}


@pytest.mark.parametrize(
    "metadata",
    [
        {"lang": "en"},
        {"lang": "zh", "rank": 2, "date": "2024-02-29", "tags": ["a", "b"], "more": True},
    ],
)
def test_it_accepts_what_fits(metadata):
    check(metadata, SCHEMA)


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({}, "lang"),
        ({"lang": "de"}, "lang"),
        ({"lang": "en", "rank": "first"}, "rank"),
        ({"lang": "en", "date": "2023-02-29"}, "date"),
        ({"lang": "en", "tags": [1]}, "tags"),
    ],
)
def test_it_names_the_field_that_is_missing_or_wrong(metadata, named):
    with pytest.raises(FrontMatterMismatch) as caught:
        check(metadata, SCHEMA)
    assert named in caught.value.message


def test_no_schema_asks_for_nothing():
    check({"anything": "goes"}, {})


def test_a_schema_that_is_none_is_refused_with_its_place():
    with pytest.raises(InvalidRequest) as caught:
        check_schema({"properties": {"lang": {"type": "text"}}})
    assert "lang" in caught.value.message


@pytest.mark.django_db
def test_a_document_that_does_not_fit_fails_alone(add, collection):
    collection.front_matter_schema = SCHEMA
    collection.save()
    wrong = add("wrong.md", "# no front matter", index=False)
    right = add("right.md", "---\nlang: en\n---\n# fine")
    wrong.refresh_from_db()
    assert wrong.latest_revision.failure_code == "front_matter_mismatch"
    assert right.live_revision is not None
