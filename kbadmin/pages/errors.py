"""What a person sees where a page is missing, not allowed, or broken."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from plugin import exception_handler
from plugin.exception_handler import is_page


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not is_page(request):
        return exception_handler.not_found(request, exception)
    return page(
        request,
        404,
        "explore_off",
        _("There is nothing at this address"),
        _("It may have been deleted, or the address has a mistake in it."),
    )


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return page(
        request,
        403,
        "lock",
        _("You may not open this"),
        _("Your account lacks a permission for it. Ask an administrator to add it."),
    )


def expired(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form was sent without its token, or with that of another session."""
    return page(
        request,
        403,
        "history",
        _("This form is too old"),
        _(
            "You have logged in or out since it was opened, or cookies are blocked. Nothing was "
            "changed: go back, load the page again and send it once more."
        ),
    )


def page(request: HttpRequest, status: int, icon: str, title: str, text: str) -> HttpResponse:
    """In the shell for those who are logged in, and alone for all others."""
    context: dict[str, Any] = {"title": title, "text": text, "icon": icon}
    user = getattr(request, "user", None)
    if user is not None and admin.site.has_permission(request):
        context |= admin.site.each_context(request)
        return render(request, "kbadmin/error.html", context, status=status)
    return render(request, "kbadmin/error_alone.html", context, status=status)
