from django.core.validators import MaxLengthValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

#: Characters; what programs take is less, and the doctor's rules say how much.
LONGEST_NAME, LONGEST_TEXT, LONGEST_LEGAL = 200, 20_000, 100_000


class PluginIdentity(models.Model):
    """What somebody changed of what we tell about ourselves: one row, or none.

    What is empty is as `plugin.identity` has it, so that a better default of a later version
    reaches everybody who never changed it.
    """

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY, editable=False)
    name_for_human = models.CharField(_("name for people"), max_length=LONGEST_NAME, blank=True)
    name_for_model = models.CharField(_("name for the model"), max_length=LONGEST_NAME, blank=True)
    description_for_human = models.TextField(
        _("description for people"), validators=[MaxLengthValidator(LONGEST_TEXT)], blank=True
    )
    description_for_model = models.TextField(
        _("description for the model"), validators=[MaxLengthValidator(LONGEST_TEXT)], blank=True
    )
    contact_email = models.CharField(_("contact e-mail"), max_length=LONGEST_NAME, blank=True)
    legal_text = models.TextField(
        _("legal information"), validators=[MaxLengthValidator(LONGEST_LEGAL)], blank=True
    )
    #: key of an operation, see `plugin.openapi` → description, where that is not the default
    operations = models.JSONField(_("descriptions of operations"), default=dict, blank=True)
    #: PNG, 512 × 512; empty without one of our own
    logo = models.BinaryField(_("logo"), default=b"", blank=True)
    #: SHA-256 of the logo in hexadecimal, so that it need not be read to be known
    logo_hash = models.CharField(max_length=64, blank=True, editable=False)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("plugin’s own description")
        verbose_name_plural = _("plugin’s own description")
        default_permissions = ("change", "view")
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="plugin_identity_is_one"),
        ]

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
