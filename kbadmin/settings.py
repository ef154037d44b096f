"""All settings. The only module that reads the environment.

Every variable has a default; README.md lists them in one table, and a test holds that
table to this file. A wrong value stops the start with its name and what is allowed.
"""

import os
import secrets
import zoneinfo
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from corsheaders.defaults import default_headers
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _
from environs import Env, EnvValidationError
from marshmallow.validate import Length, OneOf, Range, Regexp

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env(prefix=None)
# .env beside manage.py is a convenience for development; the real environment wins.
env.read_env(str(BASE_DIR / ".env"), recurse=False)


def read(kind: str, name: str, default: Any, **options: Any) -> Any:
    """Read one variable, or stop with its name and what is allowed.

    An empty variable counts as not set: compose files and unit files pass those along.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        return getattr(env, kind)(name, default, **options)
    except EnvValidationError as error:
        allowed = error.error_messages
        reason = " ".join(map(str, allowed)) if isinstance(allowed, list) else str(error)
        reason = reason.rsplit("invalid: ", 1)[-1]
        raise ImproperlyConfigured(f"{name}: {value!r} is not possible. {reason}") from error


def read_url(name: str, default: str) -> str:
    """Read an absolute http(s) address; the trailing slash is dropped. Empty if it may be."""
    value = str(read("str", name, default)).strip().rstrip("/")
    if not value:
        return ""
    parts = urlsplit(value)
    try:
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        raise ImproperlyConfigured(
            f"{name}: {value!r} is not an address; give one such as http://127.0.0.1:8001"
        )
    return value


def read_origins(name: str, default: str) -> list[str]:
    """Read a comma-separated list of browser origins, `*`, or `none`."""
    origins = [str(item).strip().rstrip("/") for item in read("list", name, default.split(","))]
    if origins == ["none"]:
        return []
    for origin in filter(None, origins):
        parts = urlsplit(origin)
        if origin != "*" and (
            parts.scheme not in {"http", "https"} or not parts.netloc or parts.path
        ):
            raise ImproperlyConfigured(
                f"{name}: {origin!r} is not an origin; give scheme://host[:port], "
                "several separated by commas, or *"
            )
    return [origin for origin in origins if origin]


# --- Where things are -----------------------------------------------------------------

DEBUG: bool = read("bool", "DEBUG", False)
HOST: str = read("str", "HOST", "127.0.0.1")
PORT: int = read("int", "PORT", 8001, validate=Range(1, 65535))
DATA_DIR: Path = Path(read("str", "KBADMIN_DATA_DIR", str(BASE_DIR / "data"))).resolve()
_local_host = "127.0.0.1" if HOST in {"0.0.0.0", "::", ""} else HOST  # noqa: S104  # compared, not bound to
LOCAL_URL = f"http://{f'[{_local_host}]' if ':' in _local_host else _local_host}:{PORT}"
#: The address that browsers use.
PUBLIC_URL = read_url("KBADMIN_PUBLIC_URL", LOCAL_URL)
#: The address that chat servers use: from inside a container it often differs.
PLUGIN_SERVER_URL = read_url("KBADMIN_PLUGIN_SERVER_URL", PUBLIC_URL)
WEB_CONCURRENCY: int = read("int", "WEB_CONCURRENCY", 2, validate=Range(1, 64))

try:
    DATA_DIR.mkdir(parents=True, exist_ok=True)
except OSError as error:
    raise ImproperlyConfigured(
        f"KBADMIN_DATA_DIR: {DATA_DIR} cannot be made ({error.strerror}); name a folder "
        "that this user may write to"
    ) from error


def read_secret_key() -> str:
    """SECRET_KEY, or one made on the first start and kept in the data folder."""
    given: str = read("str", "SECRET_KEY", "")
    if given:
        if len(given) < 32:
            raise ImproperlyConfigured(
                "SECRET_KEY: give at least 32 characters, or leave it out: one is then made "
                "and kept in the data folder"
            )
        return given
    path = DATA_DIR / "secret_key"
    try:
        # O_EXCL: of two processes that start together, one writes and the other reads.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    except OSError as error:
        raise ImproperlyConfigured(
            f"KBADMIN_DATA_DIR: {DATA_DIR} cannot be written to ({error.strerror})"
        ) from error
    key = path.read_text()
    if len(key) < 32:
        raise ImproperlyConfigured(f"SECRET_KEY: {path} is damaged; delete it and start again")
    return key


SECRET_KEY = read_secret_key()


# --- Database -------------------------------------------------------------------------


def read_database() -> dict[str, Any]:
    url: str = read("str", "DATABASE_URL", f"sqlite:///{DATA_DIR / 'kbadmin.sqlite3'}")
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=60))
    except ValueError as error:
        raise ImproperlyConfigured(
            "DATABASE_URL: give sqlite:////absolute/path or postgres://user:password@host:5432/name"
        ) from error
    engine = str(config.get("ENGINE", ""))
    if engine.endswith("sqlite3"):
        config["OPTIONS"] = {
            # Take the write lock when a transaction begins: a later upgrade from a read
            # lock fails at once with "database is locked" instead of waiting its turn.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
                "PRAGMA mmap_size=134217728; PRAGMA cache_size=-32000;"
            ),
        }
    elif engine.endswith("postgresql"):
        # A server may have closed a connection meanwhile; a file does not.
        config["CONN_HEALTH_CHECKS"] = True
        # Seconds. One that does not answer at all would hold a start, and a stop, for minutes.
        config["OPTIONS"] = {"connect_timeout": 10, **config.get("OPTIONS", {})}
    else:
        raise ImproperlyConfigured(
            "DATABASE_URL: only sqlite and postgres are supported, because lexical search "
            "uses their full-text indexes"
        )
    return config


DATABASES = {"default": read_database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Retrieval ------------------------------------------------------------------------

#: FastChat takes 8000, so Chroma's own default is not used.
CHROMA_URL = read_url("KBADMIN_CHROMA_URL", "http://127.0.0.1:8010")
CHROMA_TOKEN: str = read("str", "KBADMIN_CHROMA_TOKEN", "")
#: Seconds until a query gives up on Chroma and lexical search answers alone.
CHROMA_QUERY_TIMEOUT: float = read(
    "float", "KBADMIN_CHROMA_QUERY_TIMEOUT", 3.0, validate=Range(0.1, 60)
)
#: Seconds for writes, which wait for Chroma to persist.
CHROMA_WRITE_TIMEOUT: float = read(
    "float", "KBADMIN_CHROMA_WRITE_TIMEOUT", 60.0, validate=Range(1, 600)
)
CHROMA_DIR = DATA_DIR / "chroma"
#: Models are known to the hub by their name or found at a path.
EMBEDDING_MODEL: str = read(
    "str",
    "KBADMIN_EMBEDDING_MODEL",
    "sentence-transformers/all-MiniLM-L6-v2",
    validate=Length(1, 500),
)
EMBEDDING_THREADS: int = read(
    "int", "KBADMIN_EMBEDDING_THREADS", os.cpu_count() or 1, validate=Range(1, 256)
)
MODEL_DIR = DATA_DIR / "models"
#: A cross-encoder that reads the best passages once more, by name or path; none where empty.
RERANKER: str = read("str", "KBADMIN_RERANKER", "", validate=Length(0, 500))
#: Searches are logged by a thread of their own; tests look at the log at once.
QUERY_LOG_BESIDE = True
#: What is searched when a request names no collection.
DEFAULT_COLLECTION: str = read("str", "KBADMIN_DEFAULT_COLLECTION", "docs")
#: Bytes of one document.
MAX_FILE_SIZE: int = read(
    "int", "KBADMIN_MAX_FILE_SIZE", 20 * 1024 * 1024, validate=Range(1024, 2**31)
)
#: Days until what was deleted is gone for good, and until a replaced index is dropped.
PURGE_DAYS: int = read("int", "KBADMIN_PURGE_DAYS", 30, validate=Range(0, 3650))
ROLLBACK_DAYS: int = read("int", "KBADMIN_ROLLBACK_DAYS", 7, validate=Range(0, 3650))
#: Pages of a PDF, slides of a presentation, sheets of a workbook.
MAX_PAGES: int = read("int", "KBADMIN_MAX_PAGES", 2000, validate=Range(1, 1_000_000))
#: Characters of text that one document may yield.
MAX_CHARACTERS: int = read(
    "int", "KBADMIN_MAX_CHARACTERS", 5_000_000, validate=Range(1000, 100_000_000)
)
#: Files in one ZIP archive, the bytes that they may unpack to (this also holds for Office
#: files, which are ZIPs inside), and how many times larger than the archive that may be.
MAX_ZIP_ENTRIES: int = read("int", "KBADMIN_MAX_ZIP_ENTRIES", 1000, validate=Range(1, 100_000))
MAX_ZIP_SIZE: int = read(
    "int", "KBADMIN_MAX_ZIP_SIZE", 200 * 1024 * 1024, validate=Range(1024, 2**31)
)
MAX_ZIP_RATIO: int = read("int", "KBADMIN_MAX_ZIP_RATIO", 100, validate=Range(2, 10_000))
#: Seconds and bytes of memory for reading one document; beyond them it fails, alone.
MAX_PARSE_SECONDS: float = read("float", "KBADMIN_MAX_PARSE_SECONDS", 60.0, validate=Range(1, 3600))
MAX_PARSE_MEMORY: int = read(
    "int", "KBADMIN_MAX_PARSE_MEMORY", 512 * 1024 * 1024, validate=Range(2**28, 2**36)
)
#: Hosts inside this network that pages may be fetched from; all others must be public.
FETCH_ALLOWED_HOSTS = [
    str(host).strip().strip("[]").rstrip(".").lower()
    for host in read("list", "KBADMIN_FETCH_ALLOWED_HOSTS", [])
]
#: Seconds for which a worker holds the documents it works on; it extends them while it lives.
LEASE_SECONDS: int = read("int", "KBADMIN_LEASE_SECONDS", 60, validate=Range(5, 3600))

# --- Plugin ---------------------------------------------------------------------------

PLUGIN_AUTH: str = read("str", "KBADMIN_PLUGIN_AUTH", "bearer", validate=OneOf(["bearer", "none"]))
#: Used for the first administrator and the first key only; made up where empty.
ADMIN_PASSWORD: str = read("str", "KBADMIN_ADMIN_PASSWORD", "")
API_KEY: str = read("str", "KBADMIN_API_KEY", "")
if API_KEY and len(API_KEY) < 16:
    raise ImproperlyConfigured("KBADMIN_API_KEY: give at least 16 characters")
CONTACT_EMAIL: str = read("str", "KBADMIN_CONTACT_EMAIL", "admin@localhost.localdomain")

#: Where browsers open NextChat, and the model that its chats begin with: its own where empty.
NEXTCHAT_URL = read_url("KBADMIN_NEXTCHAT_URL", "http://localhost:3000")
NEXTCHAT_MODEL: str = read("str", "KBADMIN_NEXTCHAT_MODEL", "", validate=Length(0, 200))
#: Days for which the links in an answer lead to its sources and take votes on it.
LINK_DAYS: int = read("int", "KBADMIN_LINK_DAYS", 30, validate=Range(1, 3650))

# --- Gateway --------------------------------------------------------------------------

#: A server that speaks OpenAI's protocol; without one, answers are made of passages alone.
UPSTREAM_URL = read_url("KBADMIN_UPSTREAM_URL", "")
UPSTREAM_KEY: str = read("str", "KBADMIN_UPSTREAM_KEY", "")
#: Its model that answers for the collections; the first that it lists where empty.
UPSTREAM_MODEL: str = read("str", "KBADMIN_UPSTREAM_MODEL", "")
UPSTREAM_DIALECT: str = read(
    "str", "KBADMIN_UPSTREAM_DIALECT", "auto", validate=OneOf(["auto", "openai", "fastchat"])
)
#: Seconds that it may be silent for.
UPSTREAM_TIMEOUT: float = read("float", "KBADMIN_UPSTREAM_TIMEOUT", 120.0, validate=Range(1, 3600))
#: Tokens, estimated, that the passages of one answer may take of the model's context.
GATEWAY_TOKENS: int = read("int", "KBADMIN_GATEWAY_TOKENS", 2000, validate=Range(100, 200_000))
#: Answers that one web process waits for and streams at once.
GATEWAY_STREAMS: int = read("int", "KBADMIN_GATEWAY_STREAMS", 64, validate=Range(1, 1000))

# --- Feedback -------------------------------------------------------------------------

#: Votes that are taken from one key and address, as number/period; empty for any number.
FEEDBACK_RATE: str = read(
    "str",
    "KBADMIN_FEEDBACK_RATE",
    "60/minute",
    validate=Regexp(
        r"^([1-9]\d{0,8}/(second|minute|hour|day|s|min|m|h|d)|none)$",
        error="Give a number for a second, minute, hour or day, such as 60/minute, or none.",
    ),
)
if FEEDBACK_RATE == "none":
    FEEDBACK_RATE = ""

# --- Hosts, cookies, origins ----------------------------------------------------------


def _host_header(url: str) -> str:
    """The host of an address as a Host header names it: IPv6 in brackets."""
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host


ALLOWED_HOSTS = sorted(
    {
        "localhost",
        "127.0.0.1",
        "[::1]",
        *(_host_header(url) for url in (LOCAL_URL, PUBLIC_URL, PLUGIN_SERVER_URL)),
        *(str(host).strip() for host in read("list", "KBADMIN_ALLOWED_HOSTS", [])),
    }
    - {""}
)
CSRF_TRUSTED_ORIGINS = ["{0.scheme}://{0.netloc}".format(urlsplit(PUBLIC_URL))]
HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# Two services on one host share cookies whatever their ports: a name of our own.
SESSION_COOKIE_NAME = "kbadmin_session"
CSRF_COOKIE_NAME = "kbadmin_csrf"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if HTTPS else 0
# W005, W021: whether HSTS reaches other hosts of the domain is not ours to decide.
# W008: TLS ends at the reverse proxy, and a redirect would lose the body of a POST.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CORS_ALLOWED_ORIGINS = read_origins("KBADMIN_CORS_ORIGINS", "http://localhost:3000")
CORS_ALLOW_ALL_ORIGINS = "*" in CORS_ALLOWED_ORIGINS
if CORS_ALLOW_ALL_ORIGINS:
    CORS_ALLOWED_ORIGINS = []
elif os.environ.get("KBADMIN_NEXTCHAT_URL", "").strip():
    # Named for the first time, it calls from there; the default is in the list above.
    CORS_ALLOWED_ORIGINS.append("{0.scheme}://{0.netloc}".format(urlsplit(NEXTCHAT_URL)))
# Only what chat programs call is open to other origins, never the admin.
CORS_URLS_REGEX = (
    r"^/(search|passage|feedback|openapi\.(json|yaml)|\.well-known/ai-plugin\.json|ai-plugin\.json"
    r"|logo\.png|legal|healthz|readyz|f|mcp|v1/.+"
    r"|nextchat/(search|passage|feedback|openapi\.json|plugins\.json|masks\.json"
    r"|serviceWorkerRegister\.js))$"
)
#: What OpenAI's own library and clients of MCP send along from a browser.
CORS_ALLOW_HEADERS = [
    *default_headers,
    *(f"mcp-{name}" for name in ("method", "name", "protocol-version", "session-id")),
    *(f"openai-{name}" for name in ("beta", "organization", "project")),
    *(
        f"x-stainless-{name}"
        for name in (
            "arch", "async", "custom-poll-interval", "helper-method", "lang", "os",
            "package-version", "poll-helper", "retry-count", "runtime", "runtime-version",
            "timeout",
        )
    ),
]  # fmt: skip
CORS_PREFLIGHT_MAX_AGE = 600

# Unfold's Alpine evaluates its attributes, hence 'unsafe-eval' for the admin's scripts;
# pages for the public and for machines go without (plugin/urls.py).
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# --- Django ---------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "kbadmin.apps.KbadminConfig",
    "kbadmin.apps.KbadminAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_tasks",
    "django_tasks_db",
    "rest_framework",
    "drf_spectacular",
    "corsheaders",
    "retrieval.apps.RetrievalConfig",
    "plugin.apps.PluginConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "kbadmin.middleware.turn",
    "kbadmin.middleware.Csp",
    "kbadmin.middleware.Session",
    "kbadmin.middleware.Locale",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "kbadmin.middleware.Authentication",
    "kbadmin.middleware.Messages",
    "kbadmin.middleware.browser_timezone",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "kbadmin.urls"
WSGI_APPLICATION = "kbadmin.wsgi.application"
# A redirect loses the body of a POST, so no path is ever completed with a slash.
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FILES = 1000

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
# A language that somebody chose outlives the browser's session.
LANGUAGE_COOKIE_NAME = "kbadmin_language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = HTTPS
FORMAT_MODULE_PATH = ["kbadmin.formats"]
USE_I18N = True
USE_TZ = True
TIME_ZONE: str = read("str", "TIME_ZONE", "UTC")
if TIME_ZONE not in zoneinfo.available_timezones():
    raise ImproperlyConfigured(
        f"TIME_ZONE: {TIME_ZONE!r} is not known; give one such as Europe/Berlin or Asia/Shanghai"
    )

STATIC_URL = "static/"
#: Where an image has them collected and compressed; empty elsewhere.
_static_dir: str = read("str", "KBADMIN_STATIC_DIR", "")
STATIC_ROOT = Path(_static_dir).resolve() if _static_dir else DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served straight from the source folders: one step less between a clone and a start.
WHITENOISE_USE_FINDERS = not _static_dir
MEDIA_ROOT = DATA_DIR / "media"
MEDIA_URL = ""  # originals are downloaded through a view that checks permissions

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        # What a client did wrong is told to the client; only our own failures are logged.
        "django.request": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
        **{
            name: {
                "handlers": ["stderr"],
                "level": read(
                    "str",
                    "LOG_LEVEL",
                    "INFO",
                    validate=OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]),
                ),
                "propagate": False,
            }
            for name in ("kbadmin", "retrieval", "plugin")
        },
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["plugin.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["plugin.authentication.HasPluginAccess"],
    "DEFAULT_PARSER_CLASSES": ["plugin.parsers.BoundedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["plugin.rendering.OrjsonRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "plugin.rendering.OnlyJson",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "plugin.exception_handler.handle",
    "UNAUTHENTICATED_USER": None,
    # Who says where a request came from: with https the proxy in front, else nobody but the
    # connection itself; any header can be made up.
    "NUM_PROXIES": 1 if HTTPS else 0,
}
SPECTACULAR_SETTINGS = {
    "SERVE_INCLUDE_SCHEMA": False,
    "PREPROCESSING_HOOKS": ["plugin.openapi.keep_plugin_operations"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "plugin.openapi.inline_schemas",
    ],
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

CSRF_FAILURE_VIEW = "kbadmin.pages.errors.expired"
# Unfold's login form does not send on where to go.
LOGIN_REDIRECT_URL = "admin:index"

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "kbadmin",
    "SITE_HEADER": "kbadmin",
    "SITE_SUBHEADER": _("Knowledge base"),
    "SITE_URL": None,
    "SITE_ICON": lambda request: static("kbadmin/mark.svg"),
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("kbadmin/mark.svg"),
        }
    ],
    "SHOW_LANGUAGES": True,
    "SHOW_HISTORY": True,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "STYLES": [
        lambda request: static("kbadmin/admin.css"),
        lambda request: static("kbadmin/shell.css"),
    ],
    "SCRIPTS": [lambda request: static("kbadmin/shell.js")],
    "SIDEBAR": {"navigation": "kbadmin.navigation.sidebar"},
    "COLORS": {
        # Indigo whose 600 carries white text and whose 500 reads on a dark ground.
        "primary": {
            "50": "oklch(96.2% .018 272.3)",
            "100": "oklch(93% .034 272.8)",
            "200": "oklch(87% .065 274)",
            "300": "oklch(78.5% .115 274.7)",
            "400": "oklch(71% .155 276.5)",
            "500": "oklch(65% .19 277)",
            "600": "oklch(51.1% .23 277)",
            "700": "oklch(45.7% .22 277)",
            "800": "oklch(39.8% .18 277.4)",
            "900": "oklch(35.9% .144 278.7)",
            "950": "oklch(25.7% .09 281.3)",
        }
    },
}
