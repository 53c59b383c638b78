"""The edge to the network: one POST, its reply or the reason why there is none, and what any HTTP status means.

The only file that knows ``requests``. Nothing is retried, redirected, remembered or taken from the environment here:
a .netrc or HTTP_PROXY must not override what is configured, and a retry is for ``delivery/`` to decide.
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import DecodeError, HTTPError

from spoold import __version__
from spoold.clock import Clock
from spoold.errors import ConfigError, SpooldError
from spoold.providers.base import HttpReply, HttpRequest, Outcome, Retry, Stop
from spoold.providers.deadline import CURRENT_CALL, Call, TimedPool, TimedTlsPool, TimedTlsSocket

#: Longest time to get connected, TLS included.
CONNECT_TIMEOUT_SECONDS = 10.0
#: As much of a reply's body as is read. 2 000 failed records of Mixpanel are some 400 KB.
MAX_REPLY_BYTES = 1_048_576
#: Longest reason that a provider may give us.
MAX_REASON_CHARACTERS = 500

_READ_BYTES = 65_536
#: As much of a provider's words as is looked at, mark-up included.
_MAX_WORDS_CHARACTERS = 4_000
#: Connections kept for the next request, per host; more than that can be open at a time.
_KEPT_CONNECTIONS = 32
#: A Retry-After beyond this is noise; delivery caps it anyway, but 10^400 must not become infinity there.
_MAX_RETRY_AFTER_SECONDS = 1e9

_SERVER_ERRORS = range(500, 600)
_REDIRECTS = range(300, 400)
_REQUEST_TIMEOUT = 408
_WRONG_PLACE = frozenset({404, 405, 421})


class TransportError(SpooldError):
    """No reply came back that could be read.

    Attributes:
        reason: For the operator: host and cause, never a query string, a header or a credential.
        was_sent: The request, or a part of it, may have arrived: the outcome is unknown. False: surely nothing did.
    """

    def __init__(self, reason: str, *, was_sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.was_sent = was_sent


class HttpTransport:
    """Sends requests to one lane's provider and reads the replies. Safe from any thread; connections are kept alive.

    Args:
        clock: Monotonic for the deadlines, wall for a Retry-After that names a date.
        timeout_seconds: Longest time for one call, from the name lookup to the last byte of the reply.
        ca_file: PEM file to trust instead of the system's CA store.
        proxy: URL of an HTTP proxy, credentials in it if it wants any.

    Raises:
        ConfigError: ``ca_file`` can't be read or ``proxy`` is no URL of an HTTP proxy.
    """

    def __init__(
        self, *, clock: Clock, timeout_seconds: float = 30.0, ca_file: str | None = None, proxy: str | None = None
    ) -> None:
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._proxy_name = f" (proxy {_host_and_port(checked_url(proxy, 'proxy', credentials=True))})" if proxy else ""
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._calls: set[Call] = set()
        self._is_aborted = False
        self._session = _Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.clear()
        # No compression: replies are small, and a compressed one could be a bomb.
        self._session.headers.update(
            {"User-Agent": f"spoold/{__version__}", "Accept": "application/json", "Accept-Encoding": "identity"}
        )
        adapter = _Adapter(_tls_context(ca_file))
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, adapter)

    def post(self, request: HttpRequest, timeout_seconds: float | None = None) -> HttpReply:
        """Send ``request`` and read the reply, whatever its status.

        Args:
            request: What to send.
            timeout_seconds: A shorter time for this call than the transport's own.

        Raises:
            TransportError: No whole reply came back in time. Nothing else is raised.
        """
        total = min(self._timeout_seconds, timeout_seconds if timeout_seconds is not None else self._timeout_seconds)
        call = Call(self._clock, connect_seconds=CONNECT_TIMEOUT_SECONDS, total_seconds=total)
        self._calls.add(call)
        previous = CURRENT_CALL.set(call)
        try:
            if self._is_aborted:
                call.abort()
            return self._exchange(request)
        except (OSError, HTTPError, HTTPException, ValueError) as exc:
            # `from None`: the libraries' messages quote the URL, and a traceback would print them.
            raise TransportError(self._explain(exc, call, request.url, total), was_sent=call.was_sent) from None
        finally:
            CURRENT_CALL.reset(previous)
            self._calls.discard(call)

    def abort(self) -> None:
        """End every running ``post`` soon, and each later one at once; for when the time to shut down is over.

        Safe from any thread. A call that is in its name lookup ends with the lookup.
        """
        self._is_aborted = True
        for call in list(self._calls):
            call.abort()

    def close(self) -> None:
        """Close the connections that are kept alive. Idempotent."""
        self._session.close()

    def _exchange(self, request: HttpRequest) -> HttpReply:
        prepared = self._session.prepare_request(
            requests.Request("POST", request.url, headers=dict(request.headers), data=request.body)
        )
        # The time-out given here is never the one that strikes: each step sets its own (deadline.py).
        response = self._session.send(
            prepared, stream=True, allow_redirects=False, timeout=self._timeout_seconds, proxies=self._proxies
        )
        with closing(response):
            body = _read_body(response)
        retry_after = retry_after_seconds(response.headers.get("Retry-After"), self._clock.wall_ms())
        return HttpReply(response.status_code, body, retry_after)

    def _explain(self, exc: BaseException, call: Call, url: str, total_seconds: float) -> str:
        if call.is_aborted:
            return "given up because spoold is stopping"
        where = _host_and_port(url) + self._proxy_name
        for cause in _causes(exc):
            if isinstance(cause, TimeoutError):
                if call.was_sent:
                    return f"no complete reply from {where} within {total_seconds:g} s"
                return f"no connection to {where} within {min(total_seconds, CONNECT_TIMEOUT_SECONDS):g} s"
            for kind, text in _CAUSES:
                if isinstance(cause, kind):
                    return plain_text(text(cause, where))
        return f"no exchange with {where}: {_last_words(exc)}"


def common_outcome(reply: HttpReply, secrets: Sequence[str] = ()) -> Outcome | None:
    """What a status means whoever the provider is (providers.md 5, the rows "any"), or None: the provider decides."""
    if reply.status == _REQUEST_TIMEOUT or reply.status in _SERVER_ERRORS:
        return Retry(
            status_reason(reply, secrets=secrets), after_seconds=reply.retry_after_seconds, blames_content=True
        )
    if reply.status in _REDIRECTS:
        return Stop(f"HTTP {reply.status}: a redirect, which is never followed: is the endpoint right?")
    if reply.status in _WRONG_PLACE:
        return Stop(status_reason(reply, secrets=secrets))
    return None


def status_reason(reply: HttpReply, words: str = "", *, secrets: Sequence[str] = ()) -> str:
    """A reason such as ``HTTP 503: Service Unavailable``: the given words, else the start of the body."""
    said = plain_text(words or reply.body.decode("utf-8", "replace"), secrets)
    return plain_text(f"HTTP {reply.status}: {said}" if said else f"HTTP {reply.status}")


def plain_text(text: str, secrets: Sequence[str] = ()) -> str:
    """``text`` as one short printable line without mark-up, the secrets in it masked (I10)."""
    for secret in filter(None, secrets):
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    # Masked first, cut second: no half of a secret at the cut, and no regular expression over a MiB.
    text = text[:_MAX_WORDS_CHARACTERS]
    text = re.sub(r"<(style|script)\b.*?(</\1>|$)|</?[a-z!][^<>]{0,500}>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= MAX_REASON_CHARACTERS else text[: MAX_REASON_CHARACTERS - 1] + "…"


def retry_after_seconds(header: str | None, wall_ms: int) -> float | None:
    """A ``Retry-After`` header as a wait: it names seconds or a date (RFC 9110, 10.2.3). None if it is neither."""
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return min(float(text), _MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        wait = moment.timestamp() - wall_ms / 1000
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(wait, 0.0), _MAX_RETRY_AFTER_SECONDS)


def checked_url(url: str, key: str, *, credentials: bool = False) -> str:
    """``url`` without a slash at its end, if it can serve as the base of requests.

    Raises:
        ConfigError: It is not http(s)://host[:port][/path], or holds credentials that would end up in a log.
    """
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        has_login = parts.username is not None or parts.password is not None
    except ValueError:
        is_whole = has_login = False
    if not is_whole or re.search(r"[\s\x00-\x1f\x7f]", url) or parts.query or parts.fragment:
        raise ConfigError(f"{key}: not a base URL; write it as https://host or http://host:port", key=key)
    if has_login and not credentials:
        raise ConfigError(f"{key}: the URL holds a login; put the credential into its own key", key=key)
    return url.rstrip("/")


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Never: with ``allow_redirects=False`` requests still reads the whole body and prepares the next request."""


class _Adapter(HTTPAdapter):
    """Uses our connections and one TLS context: requests alone would trust certifi's CAs, not the system's."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_maxsize=_KEPT_CONNECTIONS, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": TimedPool, "https": TimedTlsPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, proxy_ssl_context=self._context, **kwargs)
        manager.pool_classes_by_scheme = self.poolmanager.pool_classes_by_scheme
        return manager

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        host, _ = super().build_connection_pool_key_attributes(*args, **kwargs)
        return host, {"ssl_context": self._context, "cert_reqs": "CERT_REQUIRED"}

    def cert_verify(self, *_args: Any, **_kwargs: Any) -> None:
        """Nothing: the context holds the CAs, and this would add certifi's."""


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        why = "holds no certificate in PEM form" if isinstance(exc, ssl.SSLError) else exc.strerror
        raise ConfigError(f"ca_file: {ca_file}: {why}", key="ca_file") from exc
    context.sslsocket_class = TimedTlsSocket
    return context


def _read_body(response: requests.Response) -> bytes:
    chunks: list[bytes] = []
    missing = MAX_REPLY_BYTES
    while missing:
        chunk = response.raw.read(min(missing, _READ_BYTES), decode_content=True)
        if not chunk:
            break
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _host_and_port(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "?"
    return f"{parts.hostname or '?'}:{port}"


def _last_words(exc: BaseException) -> str:
    for cause in _causes(exc):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        # http.client tells only in words that a proxy said no: "Tunnel connection failed: 407 …".
        if type(cause) is OSError and str(cause).startswith("Tunnel connection failed"):
            return plain_text(str(cause)).lower()
    return type(exc).__name__


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """``exc`` and what it was raised for, outermost first: the libraries wrap two or three deep."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


#: What went wrong, in an operator's words. The first exception on the way in that is one of these decides.
_CAUSES: tuple[tuple[type[BaseException], Callable[[Any, str], str]], ...] = (
    (socket.gaierror, lambda exc, where: f"cannot resolve the name of {where}: {exc.strerror}"),
    (ssl.SSLCertVerificationError, lambda exc, where: f"TLS certificate of {where} refused: {exc.verify_message}"),
    (ssl.SSLError, lambda exc, where: f"TLS with {where} failed: {str(exc.reason).replace('_', ' ').lower()}"),
    (ConnectionRefusedError, lambda _, where: f"connection refused by {where}"),
    (RemoteDisconnected, lambda _, where: f"{where} closed the connection without a reply"),
    (ConnectionError, lambda _, where: f"{where} broke the connection"),
    (IncompleteRead, lambda _, where: f"the reply of {where} was cut off"),
    (DecodeError, lambda _, where: f"the reply of {where} can't be decompressed"),
    (HTTPException, lambda _, where: f"the reply of {where} is not HTTP"),
)
