import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("retrieval", "0005_crashes"),
    ]

    operations = [
        # What exists was cut by the first version; what is made from now on, by the second.
        migrations.AddField(
            model_name="index",
            name="chunker_version",
            field=models.CharField(
                default="1", editable=False, max_length=8, verbose_name="chunker version"
            ),
        ),
        migrations.AlterField(
            model_name="index",
            name="chunker_version",
            field=models.CharField(
                default="2", editable=False, max_length=8, verbose_name="chunker version"
            ),
        ),
        migrations.AlterField(
            model_name="collection",
            name="chunk_size",
            field=models.PositiveIntegerField(
                default=256,
                help_text="Tokens of the embedding model, context included; cut to what it can read.",
                validators=[
                    django.core.validators.MinValueValidator(16),
                    django.core.validators.MaxValueValidator(8192),
                ],
                verbose_name="chunk size",
            ),
        ),
    ]
