from django.db import models


class VoteRate(models.Model):
    """How much of its rate somebody has used up, as one number: see `plugin.throttling`.

    A row whose time is over says nothing, and is deleted when another one is written.
    """

    #: hash of who votes and of the rate, so that another rate begins afresh
    key = models.CharField(max_length=32, primary_key=True, editable=False)
    #: microseconds since 1970: by then as many votes are free again as at the beginning
    used_until = models.BigIntegerField(db_index=True, editable=False)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
