from django.db import models
from django.utils.translation import gettext_lazy as _


class Attribute(models.Model):
    """One front-matter value of a document's live revision, typed so that filters can use an
    index. A list gives one row per item; dates are kept as ISO text, which sorts as dates do.
    """

    document = models.ForeignKey(
        "retrieval.Document", models.CASCADE, related_name="attributes", verbose_name=_("document")
    )
    key = models.CharField(_("key"), max_length=100)
    string = models.CharField(_("text"), max_length=500, null=True, blank=True)  # noqa: DJ001  # null: it has a number instead
    number = models.FloatField(_("number"), null=True, blank=True)

    class Meta:
        verbose_name = _("attribute")
        verbose_name_plural = _("attributes")
        indexes = [
            models.Index(fields=["key", "string", "document"], name="attribute_string"),
            models.Index(fields=["key", "number", "document"], name="attribute_number"),
        ]

    def __str__(self) -> str:
        return f"{self.key}={self.string if self.number is None else self.number}"
