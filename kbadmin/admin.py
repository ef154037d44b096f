"""Accounts, with Unfold's forms in place of Django's."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import admin as auth_admin  # registers its own pages, replaced here
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

if TYPE_CHECKING:

    class Unfold:
        pass

else:
    from unfold.admin import ModelAdmin as Unfold

admin.site.unregister([User, Group])


class TwoBoxes:
    js = ("kbadmin/select_filter.js",)


@admin.register(User)
class UserAdmin(auth_admin.UserAdmin, Unfold):  # type: ignore[type-arg]  # no generic class at run time
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    Media = TwoBoxes
    list_filter_sheet = False

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        # What somebody did would be deleted along. Who leaves is made inactive.
        if obj is None or LogEntry.objects.filter(user=obj).exists():
            return False
        return bool(super().has_delete_permission(request, obj))


@admin.register(Group)
class GroupAdmin(auth_admin.GroupAdmin, Unfold):
    Media = TwoBoxes
