"""Content hashes: how the same bytes and the same text are recognised."""

import hashlib


def bytes_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes, 64 hex digits: the number people can check by hand."""
    return hashlib.sha256(data).hexdigest()


def text_hash(text: str) -> str:
    """BLAKE2b-128 of a text, 32 hex digits: short, since a million chunks carry one each."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
