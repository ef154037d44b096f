from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PluginConfig(AppConfig):
    name = "plugin"
    verbose_name = _("Plugin")
