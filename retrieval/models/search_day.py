from django.db import models
from django.utils.translation import gettext_lazy as _


class SearchDay(models.Model):
    """What was asked on one day, summed up, so that nobody has to count the log again.

    Of each day there is one row for every collection that was asked and one, without a
    collection, for all of them. `retrieval.usage` writes and reads them.
    """

    day = models.DateField(_("day"))
    collection = models.ForeignKey(
        "retrieval.Collection",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("collection"),
    )
    high = models.PositiveIntegerField(default=0)
    low = models.PositiveIntegerField(default=0)
    none = models.PositiveIntegerField(default=0)
    empty = models.PositiveIntegerField(
        default=0, help_text=_("Answers without a passage, whatever their confidence.")
    )
    #: number of a bucket (see `retrieval.usage.bucket`), as text → searches that took so long
    latencies = models.JSONField(default=dict)
    until = models.DateTimeField(help_text=_("Searches before this moment are counted."))

    class Meta:
        verbose_name = _("day of searches")
        verbose_name_plural = _("days of searches")
        constraints = [
            models.UniqueConstraint(fields=["collection", "day"], name="search_day"),
            models.UniqueConstraint(
                fields=["day"],
                condition=models.Q(collection__isnull=True),
                name="search_day_of_all",
            ),
        ]

    def __str__(self) -> str:
        return str(self.day)
