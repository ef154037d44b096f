import hashlib
import secrets
import threading

from cachetools import TTLCache
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from retrieval.prepared import Prepared, instance

#: Seconds that `last_used_at` may be behind: a write for every request would cost more than it
#: tells.
LAST_USE_PRECISION = 60
#: The keys whose use this process has written down within that time.
_touched: TTLCache[tuple[int, str], bool] = TTLCache(10_000, LAST_USE_PRECISION)
_touching = threading.Lock()


def hash_key(key: str) -> str:
    """SHA-256: keys are long and random, so a slow password hash would protect nothing."""
    return hashlib.sha256(key.encode()).hexdigest()


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> "ApiKeyQuerySet":
        return self.filter(revoked_at=None)

    def authenticate(self, key: str) -> "ApiKey | None":
        """The key's row, or None if it is unknown or revoked."""
        rows = _usable.rows([hash_key(key)])
        return instance(ApiKey, _COLUMNS, rows[0]) if rows else None


class ApiKey(models.Model):
    """A key for programs. Only its hash is kept: it can be shown once, when it is made."""

    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(_("begins with"), max_length=12, editable=False)
    key_hash = models.CharField(_("hash"), max_length=64, unique=True, editable=False)
    scopes = models.JSONField(_("scopes"), default=list, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def generate() -> str:
        return f"kb_{secrets.token_urlsafe(32)}"

    @classmethod
    def issue(cls, name: str, key: str | None = None) -> tuple["ApiKey", str]:
        """Make a row for a new or a given key; returns it with the key in the clear."""
        key = key or cls.generate()
        row = cls.objects.create(name=name, prefix=key[:8], key_hash=hash_key(key))
        return row, key

    def touch(self) -> None:
        """Remember that the key was used, to the minute."""
        with _touching:
            known = (self.pk, self.prefix) in _touched
            _touched[self.pk, self.prefix] = True
        if not known:
            ApiKey.objects.filter(pk=self.pk).update(last_used_at=timezone.now())


#: Every request asks for its key.
_COLUMNS = ("id", "name", "prefix")
_usable = Prepared(
    lambda values: (
        ApiKey.objects.all().usable().filter(key_hash=values[0]).order_by().values_list(*_COLUMNS)
    )
)
