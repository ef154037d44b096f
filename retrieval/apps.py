from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class RetrievalConfig(AppConfig):
    name = "retrieval"
    verbose_name = _("Knowledge base")

    def ready(self) -> None:
        from retrieval import checks  # noqa: F401 - registers the system checks

        post_migrate.connect(forget_words_of_a_flush, sender=self)


def forget_words_of_a_flush(**_context: Any) -> None:
    """Empty the word index when `manage.py flush` has emptied the tables of models.

    It is no model's table, so Django leaves it, and new chunks get the keys of the old ones.
    """
    from django.db import connection

    from retrieval.lexical import lexical_index
    from retrieval.models import Chunk

    # Migrations may have ended before there was one, or with taking it back.
    is_there = "retrieval_lexical" in connection.introspection.table_names()
    if is_there and not Chunk.objects.exists():
        lexical_index().clear()
