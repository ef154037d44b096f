"""The way to a server: its addresses, a connection to one of them, and when the time is up."""

import http.client
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from retrieval.exceptions import FetchFailed, FetchUnreachable
from retrieval.sentences import Sentence as _

#: Addresses of one host that are tried before it counts as unreachable.
ADDRESSES_TRIED = 3

_resolvers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="resolve")


@dataclass(frozen=True, slots=True)
class Tls:
    """How an answer was protected on its way."""

    version: str  #: TLSv1.3
    expires: datetime  #: when the certificate does


class Deadline:
    """Cuts a connection when the time is up: a server that sends a byte now and then would
    never meet the timeout of a socket."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ends = time.monotonic() + seconds
        self.connection: http.client.HTTPConnection | None = None
        self.expired = False
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @property
    def left(self) -> float:
        """Seconds, more than 0. Raises FetchUnreachable when there are none."""
        if self.expired or time.monotonic() >= self.ends:
            raise self.error()
        return max(self.ends - time.monotonic(), 0.01)

    def error(self) -> FetchUnreachable:
        return FetchUnreachable(
            _("The site did not answer within %(seconds)s seconds.", seconds=f"{self.seconds:g}")
        )

    def _cut(self) -> None:
        self.expired = True
        sock = self.connection.sock if self.connection else None
        if sock is not None:
            with suppress(OSError):
                # Not SSLSocket's own, which takes the session away from under the reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class PinnedConnection(http.client.HTTPConnection):
    """A connection to an address that was checked, under the name that was asked for."""

    def __init__(self, host: str, port: int, ips: list[str], deadline: Deadline, tls: bool) -> None:
        super().__init__(host, port)
        self.default_port = 443 if tls else 80
        self.ips = ips
        self.deadline = deadline
        self.tls = ssl.create_default_context() if tls else None
        self.protection: Tls | None = None

    def connect(self) -> None:
        failure: OSError | None = None
        for ip in self.ips[:ADDRESSES_TRIED]:
            try:
                self.sock = socket.create_connection((ip, self.port), self.deadline.left)
                break
            except OSError as error:
                failure = error
        else:
            raise failure or OSError("no address")
        if self.tls is not None:
            # In two steps, so that the deadline can also cut the handshake.
            secure = self.sock = self.tls.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            secure.do_handshake()
            self.protection = _protection(secure)


def _protection(secure: ssl.SSLSocket) -> Tls | None:
    ends = (secure.getpeercert() or {}).get("notAfter")
    if not isinstance(ends, str):
        return None
    return Tls(secure.version() or "", datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC))


#: Of OpenSSL's reasons why a certificate is not valid, those that have a sentence of their own.
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_IP = 9, 10, 62, 64
_UNKNOWN_ISSUER = {2, 18, 19, 20, 21}
_TOO_OLD = {
    "UNSUPPORTED_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "WRONG_SSL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "UNSUPPORTED_SSL_VERSION",
}


def handshake_failure(host: str, error: ssl.SSLError) -> FetchFailed | None:
    """Why a secure connection was not made, if it is known and will not mend itself."""
    said: str | None = None
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _EXPIRED:
            said = _("The certificate of %(host)s has expired.", host=host)
        elif error.verify_code == _NOT_YET_VALID:
            said = _("The certificate of %(host)s is not valid yet.", host=host)
        elif error.verify_code in {_OTHER_HOST, _OTHER_IP}:
            said = _(
                "The certificate is not for %(host)s: it names other hosts, so that programs "
                "refuse it.",
                host=host,
            )
        elif error.verify_code in _UNKNOWN_ISSUER:
            said = _(
                "The certificate of %(host)s is signed by nobody that programs trust: it is "
                "self-signed, or the server does not send the certificate between.",
                host=host,
            )
        else:
            said = _(
                "The site's certificate is not valid: %(reason)s.", reason=error.verify_message
            )
    elif error.reason in _TOO_OLD:
        said = _(
            "%(host)s speaks no TLS of version 1.2 or newer, which programs ask for.", host=host
        )
    elif error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
        said = _("%(host)s does not speak TLS at this port: it may serve plain http.", host=host)
    return FetchFailed(said) if said else None


def resolve(host: str, port: int, deadline: Deadline) -> list[str]:
    """The addresses of a host, in the order in which the system would try them."""
    lookup = _resolvers.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = lookup.result(deadline.left)
    except FutureTimeout as error:
        raise deadline.error() from error
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise FetchUnreachable(
                _("The name %(host)s could not be looked up just now.", host=host)
            ) from error
        raise FetchFailed(_("There is no host called %(host)s.", host=host)) from error
    except (OSError, UnicodeError) as error:
        raise FetchFailed(_("There is no host called %(host)s.", host=host)) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
