from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("retrieval", "0008_search_settings"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="chunk",
            index=models.Index(
                condition=models.Q(("enabled", False)), fields=["document"], name="chunk_disabled"
            ),
        ),
    ]
