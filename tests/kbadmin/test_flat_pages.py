"""Law 10: no page asks the database more often because there is more in it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, resolve
from django.utils import timezone

from benchmarks.rows import SMALL, Filler, Sizes
from retrieval.models import Worker
from tests.kbadmin.pages_of_admin import FORBIDDEN, LOGIN, Page, keys, pages

pytestmark = pytest.mark.django_db

MORE = Sizes(
    documents=80,
    chunks_each=4,
    failed=10,
    long=60,
    searches=60,
    feedback=60,
    judgments=20,
    disabled_every=5,
    entries=60,
    embeddings=20,
)
#: Addresses that are no pages: what a button sends to, a fragment, a file, Django's own.
NO_PAGES = re.compile(
    r"login|logout|view_on_site|jsi18n|autocomplete|password_change_done|None"
    r"|(upload|status)_progress|upload_preview|connect_test|plugin_doctor_(json|check_delete)"
    r"|plugin_identity_(apply|findings|logo)"
    r"|review_((item_)?act|settle|proof)"
    r"|gaps_export|inspector_(points|progress|report)"
    r"|\w+_(retry|cancel|switch_chunks|keep|restore|original|retry_all|reconcile|reindex|reindex_cancel"
    r"|rollback|index_drop)"
    r"|retrieval_judgment_(export|template)|evaluation_(progress|delete|trial|trial_act)"
    # Unfold registers them; nothing leads to them.
    r"|django_tasks_database_\w+"
)


def queries_of_each_page(sizes: Sizes, client: Client) -> dict[str, int]:
    """Name of a page → how many queries it asks, over a database of this size."""
    counts = {}
    with transaction.atomic():
        Filler(sizes).fill()
        client.force_login(User.objects.get(username="boss"))
        found = keys()
        for page in pages():
            address = page.address.format_map(found)
            # On a busy machine all pages take longer than a worker may be silent.
            Worker.objects.update(seen_at=timezone.now())
            client.get(address)
            with CaptureQueriesContext(connection) as captured:
                answer = client.get(address)
            assert answer.status_code == page.status, f"{page.name}: {address}"
            counts[page.name] = len(captured)
        transaction.set_rollback(True)
    return counts


def test_no_page_asks_more_often_when_there_is_more(client: Client) -> None:
    few, many = (queries_of_each_page(sizes, client) for sizes in (SMALL, MORE))
    assert {name: (few[name], many[name]) for name in few if many[name] > few[name]} == {}


def names(patterns: list[URLPattern | URLResolver]) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from names(pattern.url_patterns)
        else:
            yield str(pattern.name)


def can_be_opened(name: str) -> bool:
    """Whether the pages to add or delete something are there for an administrator."""
    app_model, _, action = name.rpartition("_")
    for model, model_admin in admin.site._registry.items():
        if app_model == f"{model._meta.app_label}_{model._meta.model_name}":
            request: Any = type("Request", (), {"user": User(is_superuser=True)})()
            allowed = {
                "add": model_admin.has_add_permission,
                "delete": model_admin.has_delete_permission,
            }
            return allowed[action](request) if action in allowed else True
    return True


def test_no_page_of_the_admin_is_missing_from_the_list(db: None) -> None:
    found = dict.fromkeys(keys(), 1)
    listed = {
        resolve(page.address.format_map(found).partition("?")[0]).url_name
        for page in (*pages(), LOGIN, FORBIDDEN)
        if page.status != 404
    }
    there = {
        name
        for name in names(admin.site.urls[0])
        if not NO_PAGES.fullmatch(name) and can_be_opened(name)
    }
    assert there - listed == set()


def test_pages_have_names_of_their_own() -> None:
    every: list[Page] = [*pages(), LOGIN, FORBIDDEN]
    assert len({page.name for page in every}) == len(every)
