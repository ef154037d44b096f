"""Every page in Chinese: a translation that does not fit its sentence fails when it is shown."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from benchmarks.rows import SMALL, Filler
from tests.kbadmin import pages_of_admin


@pytest.mark.django_db
def test_every_page_answers_in_chinese() -> None:
    Filler(SMALL).fill()
    page = Client(raise_request_exception=False)
    page.force_login(User.objects.get(username="boss"))
    chinese = {"Accept-Language": "zh-hans"}
    keys = pages_of_admin.keys()
    answered = {
        one.name: page.get(one.address.format_map(keys), headers=chinese).status_code
        for one in pages_of_admin.pages()
    }
    assert answered == {one.name: one.status for one in pages_of_admin.pages()}
