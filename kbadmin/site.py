"""The admin site: one shell for the model pages and for our own pages."""

from unfold.sites import UnfoldAdminSite


class KbadminSite(UnfoldAdminSite):
    """Branding and navigation come from settings.UNFOLD; pages add their own URLs."""

    enable_nav_sidebar = True
    # No path is redirected to one that ends in a slash: see settings.APPEND_SLASH.
    final_catch_all_view = False
