import numpy as np
from django.db import models
from django.utils.translation import gettext_lazy as _
from numpy.typing import NDArray


class Embedding(models.Model):
    """(model, text hash) → vector. Kept for good, so that neither a rebuild of Chroma nor a
    rollback ever embeds a text again."""

    embedding_model = models.ForeignKey(
        "retrieval.EmbeddingModel", models.CASCADE, verbose_name=_("embedding model")
    )
    text_hash = models.CharField(_("hash of the embedded text"), max_length=32)
    #: float32, little-endian, `dimension` values
    vector = models.BinaryField(_("vector"))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("embedding")
        verbose_name_plural = _("embeddings")
        constraints = [
            models.UniqueConstraint(
                fields=["embedding_model", "text_hash"], name="embedding_of_text"
            )
        ]

    def __str__(self) -> str:
        return self.text_hash

    @staticmethod
    def pack(vector: NDArray[np.float32]) -> bytes:
        """Vector of shape (dimension,) → the bytes that are stored."""
        return np.ascontiguousarray(vector, dtype="<f4").tobytes()

    @staticmethod
    def unpack(data: bytes | memoryview) -> NDArray[np.float32]:
        """Stored bytes → vector of shape (dimension,)."""
        return np.frombuffer(data, dtype="<f4").astype(np.float32)
