"""The form of a collection: its schema, and its two fields of JSON."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from retrieval.models import Collection


def url(name: str, collection: Collection) -> str:
    return reverse(f"admin:retrieval_collection_{name}", args=[collection.pk])


def form_data(**changes: Any) -> dict[str, Any]:
    return {
        "title": "Handbook",
        "default_top_k": 4,
        "retrieval_settings": "",
        "front_matter_schema": "",
        **changes,
    }


def test_a_schema_is_kept_and_shown_on_several_lines(page: Client, collection: Collection) -> None:
    schema = {"required": ["owner"], "properties": {"owner": {"type": "string"}}}
    page.post(url("change", collection), form_data(front_matter_schema=json.dumps(schema)))
    collection.refresh_from_db()
    assert collection.front_matter_schema == schema
    form = page.get(url("change", collection)).context["adminform"].form
    assert form["front_matter_schema"].value() == json.dumps(schema, indent=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"type": "objekt"}', "This is no JSON Schema. type:"),
        ("[1]", "Write a JSON object"),
        ("{", "Enter a valid JSON"),
    ],
)
def test_what_is_no_schema_is_said_at_the_field(
    page: Client, collection: Collection, text: str, said: str
) -> None:
    response = page.post(url("change", collection), form_data(front_matter_schema=text))
    assert said in str(response.context["adminform"].form.errors["front_matter_schema"])
    collection.refresh_from_db()
    assert collection.front_matter_schema == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"mode": "psychic"}', "retrieval_settings.mode"),
        ('{"min_score": 7}', "retrieval_settings.min_score"),
        ('{"colour": "red"}', "colour"),
    ],
)
def test_settings_that_no_search_could_use_are_refused(
    page: Client, collection: Collection, text: str, said: str
) -> None:
    response = page.post(url("change", collection), form_data(retrieval_settings=text))
    assert said in str(response.context["adminform"].form.errors["retrieval_settings"])
    collection.refresh_from_db()
    assert collection.retrieval_settings == {}


def test_search_settings_are_kept(page: Client, collection: Collection) -> None:
    page.post(url("change", collection), form_data(retrieval_settings='{"context": 1}'))
    collection.refresh_from_db()
    assert collection.retrieval_settings == {"context": 1}


def test_empty_fields_are_empty_objects(page: Client, collection: Collection) -> None:
    page.post(url("change", collection), form_data())
    collection.refresh_from_db()
    assert (collection.front_matter_schema, collection.retrieval_settings) == ({}, {})


def test_the_name_of_a_deleted_collection_is_free(page: Client, collection: Collection) -> None:
    page.post(url("delete", collection), {"post": "yes", "typed": collection.title})
    data = {
        "slug": "docs",
        "embedding_model": collection.embedding_model_id,
        "space": "cosine",
        "chunk_size": 256,
        "chunk_overlap": 0,
    }
    response = page.post(reverse("admin:retrieval_collection_add"), form_data(**data))
    assert response.status_code == 302
    assert Collection.objects.alive().get().slug == "docs"


def test_a_prompt_is_kept_and_its_default_shown(page: Client, collection: Collection) -> None:
    html = page.get(url("change", collection)).content.decode()
    assert "Answer from the numbered passages" in html
    assert "请根据下面" in html
    page.post(url("change", collection), form_data(prompt_zh="用文言文回答：\n{passages}\n"))
    collection.refresh_from_db()
    assert collection.prompt_in("zh") == "用文言文回答：\n{passages}"
    assert "{passages}" in collection.prompt_in("en")


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("Be kind.", "{passages} is missing"),
        ("{passages} for {user}", "{user} is no placeholder. These are: {passages}, {question}"),
    ],
)
def test_a_prompt_that_cannot_work_is_refused(
    page: Client, collection: Collection, prompt: str, said: str
) -> None:
    response = page.post(url("change", collection), form_data(prompt_en=prompt))
    assert said in " ".join(response.context["adminform"].form.errors["prompt_en"])
    collection.refresh_from_db()
    assert collection.prompt_en == ""
