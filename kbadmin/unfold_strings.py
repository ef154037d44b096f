"""Words of Unfold's own templates. It ships no Chinese, so our catalogue carries them.

Nothing imports this module: makemessages reads it.
"""

from django.utils.translation import gettext_noop as _

STRINGS = [
    _("Select record"),
    _("Select all rows"),
    _("Select action"),
    _("Select action to run"),
    _("Select value"),
    _("Run"),
    _("More actions"),
    _("Type to search"),
    _("Apply Filters"),
    _("Reset filters"),
    _("No results found"),
    _("This page yielded into no results. Create a new item or reset your filters."),
    _("No data"),
    _("Collapse"),
    _("Expand row"),
    _("Cancel"),
    _("Click to cancel"),
    _("This item will be deleted."),
    _("Go back"),
    _("Previous"),
    _("Next"),
    _("General"),
    _("Light"),
    _("Dark"),
    _("True"),
    _("False"),
    _("From"),
    _("To"),
    _("Date"),
    _("Edit"),
    _("All applications"),
    _("Current file"),
    _("Choose file to upload"),
    _("Click to download"),
    _("Toggle password visibility"),
    _("Welcome back to"),
    _("Return to site"),
    _("You have been successfully logged out from the administration"),
    _("After you've created a user, you’ll be able to edit more user options."),
    _(
        "Raw passwords are not stored, so there is no way to see this user’s password, but you "
        'can change the password using <a href="{}" class="text-primary-600 '
        'dark:text-primary-500">this form</a>.'
    ),
]
