import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("retrieval", "0006_chunker_version"),
    ]

    operations = [
        migrations.AddField(
            model_name="evaluationrun",
            name="degraded_count",
            field=models.PositiveIntegerField(
                default=0,
                help_text="Answers that a part of the search was missing from: above 0 the metrics say less about the settings.",
                verbose_name="degraded answers",
            ),
        ),
        migrations.AddField(
            model_name="evaluationrun",
            name="index",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="retrieval.index",
                verbose_name="index",
            ),
        ),
        migrations.AddField(
            model_name="evaluationrun",
            name="left_out",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="Questions that were not asked, by reason, and documents that are not here.",
                verbose_name="left out",
            ),
        ),
        migrations.AddField(
            model_name="evaluationrun",
            name="mode",
            field=models.CharField(blank=True, max_length=16, verbose_name="mode"),
        ),
        migrations.AddField(
            model_name="evaluationrun",
            name="name",
            field=models.CharField(blank=True, max_length=200, verbose_name="name"),
        ),
        migrations.AddField(
            model_name="evaluationrun",
            name="questions_hash",
            field=models.CharField(
                blank=True, max_length=64, verbose_name="SHA-256 of the questions"
            ),
        ),
        migrations.AddField(
            model_name="evaluationrun",
            name="questions_source",
            field=models.CharField(blank=True, max_length=500, verbose_name="questions from"),
        ),
        migrations.AddField(
            model_name="evaluationrun",
            name="seconds",
            field=models.FloatField(default=0, verbose_name="seconds"),
        ),
        migrations.AddField(
            model_name="evaluationrun",
            name="top_k",
            field=models.PositiveIntegerField(default=10, verbose_name="top k"),
        ),
        migrations.AlterField(
            model_name="evaluationrun",
            name="fingerprint",
            field=models.CharField(
                help_text="SHA-256 of settings and questions: the same for runs that should agree.",
                max_length=64,
                verbose_name="settings fingerprint",
            ),
        ),
        migrations.CreateModel(
            name="EvaluationAnswer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("order", models.PositiveIntegerField(verbose_name="order")),
                ("question", models.TextField(verbose_name="question")),
                ("question_hash", models.CharField(max_length=32, verbose_name="question hash")),
                ("relevant", models.JSONField(default=list, verbose_name="relevant documents")),
                ("found", models.JSONField(default=list, verbose_name="found documents")),
                ("ranks", models.JSONField(default=list, verbose_name="ranks")),
                ("top_score", models.FloatField(blank=True, null=True, verbose_name="best score")),
                ("confidence", models.CharField(max_length=8, verbose_name="confidence")),
                ("degraded", models.CharField(blank=True, max_length=64, verbose_name="degraded")),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="answers",
                        to="retrieval.evaluationrun",
                        verbose_name="evaluation run",
                    ),
                ),
            ],
            options={
                "verbose_name": "evaluation answer",
                "verbose_name_plural": "evaluation answers",
                "constraints": [
                    models.UniqueConstraint(fields=("run", "order"), name="evaluation_answer_order")
                ],
            },
        ),
    ]
