"""The keys of programs: shown once when they are made, kept as a hash, revoked for good."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from retrieval.admin import audit
from retrieval.admin.base import KnowledgeAdmin, badge
from retrieval.models import ApiKey


@admin.register(ApiKey)
class ApiKeyAdmin(KnowledgeAdmin[ApiKey]):
    list_display = ("name", "begins_with", "status", "last_used_at", "created_at", "revoke_link")
    search_fields = ("name", "prefix")
    ordering = ("-created_at",)
    actions = ("revoke",)
    readonly_fields = ("begins_with", "status", "last_used_at", "created_at")

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        may_revoke = self.has_change_permission(request)
        return self.list_display if may_revoke else self.list_display[:-1]

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return ("name",) if obj is None else ("name", *self.readonly_fields)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        # There is one way on from here: to the key, which is shown once.
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **buttons})

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "name":
            field.help_text = _("Who uses it, for example “NextChat in the support team”.")
        return field

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        # A revoked key stays in the list, so that nobody wonders what it was.
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        row, key = ApiKey.issue(obj.name)
        obj.pk = row.pk
        obj.refresh_from_db()
        request.issued_key = key  # type: ignore[attr-defined]  # for the answer to it

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        # Answered directly instead of with a redirect: the key in the clear would have to
        # be kept somewhere until the next request, and it is to be kept nowhere.
        context = {
            **self.admin_site.each_context(request),
            "title": _("Copy the new key now"),
            "opts": self.opts,
            "row": obj,
            "key": request.issued_key,  # type: ignore[attr-defined]  # set above
        }
        return TemplateResponse(request, "kbadmin/key_issued.html", context)

    @admin.display(description=_("begins with"))
    def begins_with(self, obj: ApiKey) -> str:
        return format_html("<code>{}…</code>", obj.prefix)

    @admin.display(description=_("state"), ordering="revoked_at")
    def status(self, obj: ApiKey) -> str:
        return badge("failed", _("revoked")) if obj.revoked_at else badge("live", _("usable"))

    @admin.display(description="")
    def revoke_link(self, obj: ApiKey) -> str:
        if obj.revoked_at:
            return ""
        url = reverse("admin:retrieval_apikey_revoke", args=[obj.pk])
        return format_html(
            '<a class="kb-button kb-small kb-danger" href="{}" aria-label="{} {}">{}</a>',
            url,
            _("Revoke"),
            obj.name,
            _("Revoke"),
        )

    # --- Taking a key away --------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revoke_view)
        return [
            path("<int:pk>/revoke/", view, name="retrieval_apikey_revoke"),
            *super().get_urls(),
        ]

    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask first: a program that uses the key stops working, and there is no way back."""
        row = ApiKey.objects.filter(pk=pk).first()
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        if request.method == "POST":
            self.revoke(request, ApiKey.objects.filter(pk=pk))
            return redirect("admin:retrieval_apikey_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": _("Revoke a key"),
            "opts": self.opts,
            "original": row,
            "row": row,
        }
        return TemplateResponse(request, "kbadmin/key_revoke.html", context)

    @admin.action(description=_("Revoke"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        usable = queryset.filter(revoked_at=None)
        named = audit.some(usable)
        count = usable.update(revoked_at=timezone.now())
        audit.record(request, audit.Deed.REVOKE, named, count)
        self.message_user(
            request,
            ngettext("%(n)d key was revoked.", "%(n)d keys were revoked.", count) % {"n": count},
            messages.SUCCESS if count else messages.INFO,
        )
