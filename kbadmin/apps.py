from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class KbadminConfig(AppConfig):
    name = "kbadmin"


class KbadminAdminConfig(AdminConfig):
    default_site = "kbadmin.site.KbadminSite"
