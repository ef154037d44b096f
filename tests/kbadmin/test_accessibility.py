"""WCAG 2.2 AA as far as axe-core can tell: no page has a serious or critical violation."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from playwright.sync_api import Browser, Page

from benchmarks.rows import SMALL, Filler
from tests import axe
from tests.kbadmin import pages_of_admin
from tests.kbadmin.test_browser import browser, log_in

__all__ = ["browser"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    # Half a hundred pages, each looked at twice.
    pytest.mark.timeout(900),
]

#: The rules of WCAG up to 2.2 AA, and axe's own good practice.
RUN = """
() => axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    resultTypes: ["violations"],
})
"""
#: What hides would not be looked at.
OPEN = """
() => document
    .querySelectorAll("#content-main details, .kb-page details")
    .forEach(details => { details.open = true; })
"""
#: Colours that are on their way to others are neither the ones before nor the ones after.
STILL = "document.getAnimations().forEach(animation => animation.finish())"
#: An address, what axe found there, and where.
Violation = tuple[str, str, str]


@pytest.fixture
def address(live_server: Any) -> str:
    Filler(SMALL).fill()
    clerk = User.objects.create_user("clerk", password="a long password", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_search"))
    return str(live_server.url)


@pytest.fixture(params=["light", "dark"])
def tab(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(
        locale="en", color_scheme=request.param, viewport={"width": 1440, "height": 900}
    )
    yield context.new_page()
    context.close()


def look_at(tab: Page, address: str, page: pages_of_admin.Page) -> list[Violation]:
    response = tab.goto(address + page.address.format_map(pages_of_admin.keys()))
    assert response is not None
    assert response.status == page.status, page.name
    tab.evaluate(OPEN)
    tab.evaluate(STILL)
    tab.evaluate(axe.source_or_skip())
    return [
        (page.name, f"{found['id']} ({found['impact']})", node["html"][:200] + "\n" + reason(node))
        for found in tab.evaluate(RUN)["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]


def reason(node: dict[str, Any]) -> str:
    return "; ".join(check["message"] for check in [*node["any"], *node["all"], *node["none"]])


def test_every_page_can_be_used_by_everybody(tab: Page, address: str) -> None:
    axe.source_or_skip()
    found = look_at(tab, address, pages_of_admin.LOGIN)
    log_in(tab, address)
    for page in pages_of_admin.pages():
        if not page.variant:
            found += look_at(tab, address, page)
    assert not found, "\n\n".join("\n".join(violation) for violation in found)


def test_a_refusal_can_be_read_by_everybody(tab: Page, address: str) -> None:
    tab.goto(f"{address}/admin/")
    tab.fill("[name=username]", "clerk")
    tab.fill("[name=password]", "a long password")
    tab.click("#login-form [type=submit]")
    tab.wait_for_url("**/admin/")
    assert look_at(tab, address, pages_of_admin.FORBIDDEN) == []
