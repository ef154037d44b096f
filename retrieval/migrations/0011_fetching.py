from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("retrieval", "0010_search_days"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="revision",
            name="revision_unfinished",
        ),
        migrations.AlterField(
            model_name="document",
            name="origin",
            field=models.CharField(
                choices=[
                    ("path", "folder"),
                    ("upload", "upload"),
                    ("web", "web page"),
                    ("api", "API"),
                    ("feedback", "feedback"),
                ],
                default="upload",
                max_length=16,
                verbose_name="origin",
            ),
        ),
        migrations.AlterField(
            model_name="revision",
            name="state",
            field=models.CharField(
                choices=[
                    ("queued", "queued"),
                    ("fetching", "fetching"),
                    ("parsing", "parsing"),
                    ("chunking", "chunking"),
                    ("embedding", "embedding"),
                    ("syncing", "syncing"),
                    ("indexed", "indexed"),
                    ("failed", "failed"),
                    ("skipped", "skipped"),
                    ("cancelled", "cancelled"),
                    ("superseded", "superseded"),
                ],
                default="queued",
                max_length=16,
                verbose_name="state",
            ),
        ),
        migrations.AddIndex(
            model_name="revision",
            index=models.Index(
                condition=models.Q(
                    (
                        "state__in",
                        ["queued", "fetching", "parsing", "chunking", "embedding", "syncing"],
                    )
                ),
                fields=["id"],
                name="revision_unfinished",
            ),
        ),
    ]
