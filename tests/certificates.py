"""Certificates for servers of tests, made by the openssl program."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass
class Authority:
    """Signs certificates; whoever trusts `path` trusts them."""

    folder: Path

    def __post_init__(self) -> None:
        self.path, self.key = self.folder / "authority.pem", self.folder / "authority.key"
        self.run(
            *("req", "-x509", *KEY, "-keyout", str(self.key), "-out", str(self.path)),
            *("-days", "30", "-subj", "/CN=Authority of a test"),
        )

    def server(self, names: str = "IP:127.0.0.1", days: int = 90) -> ssl.SSLContext:
        """What a server of these names needs; -1 days have passed already."""
        key, request, signed = (str(self.folder / name) for name in ("s.key", "s.csr", "s.pem"))
        self.run(
            *("req", "-new", *KEY, "-keyout", key, "-out", request, "-subj", "/CN=Server"),
            *("-addext", f"subjectAltName={names}"),
        )
        self.run(
            *("x509", "-req", "-in", request, "-CA", str(self.path), "-CAkey", str(self.key)),
            *("-days", str(days), "-copy_extensions", "copy", "-out", signed),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signed, key)
        return context

    def run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)
