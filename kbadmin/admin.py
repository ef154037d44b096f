"""Accounts, with Unfold's forms in place of Django's."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth import admin as auth_admin  # registers its own pages, replaced here
from django.contrib.auth.models import Group, User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

if TYPE_CHECKING:

    class Unfold:
        pass

else:
    from unfold.admin import ModelAdmin as Unfold

admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(auth_admin.UserAdmin, Unfold):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_filter_sheet = False


@admin.register(Group)
class GroupAdmin(auth_admin.GroupAdmin, Unfold):
    pass
