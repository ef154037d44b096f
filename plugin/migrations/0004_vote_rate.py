"""Rates of votes have a table of their own: the cache's could not count without losing some."""

from importlib import import_module

from django.db import migrations, models

shared_cache = import_module("plugin.migrations.0003_shared_cache")


class Migration(migrations.Migration):
    dependencies = [("plugin", "0003_shared_cache")]
    operations = [
        migrations.CreateModel(
            name="VoteRate",
            fields=[
                (
                    "key",
                    models.CharField(
                        editable=False, max_length=32, primary_key=True, serialize=False
                    ),
                ),
                ("used_until", models.BigIntegerField(db_index=True, editable=False)),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunPython(shared_cache.drop, shared_cache.create),
    ]
