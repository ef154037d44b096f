"""Who may call the plugin: a bearer key, or everybody where the operator said so."""

from typing import Any

from django.conf import settings
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from retrieval.models import ApiKey

#: What the keys of the doctor's own checks begin with; see plugin.doctor.calls.
CHECK_KEY = "kb_check_"


def is_check(request: Request) -> bool:
    """Whether the doctor asks: it is nobody's question, and none that somebody should answer."""
    header = get_authorization_header(request).decode("latin-1").split(None, 1)
    key = header[1].strip() if len(header) == 2 else ""
    return key.startswith(CHECK_KEY) and ApiKey.objects.all().authenticate(key) is not None


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer KEY`. The key's row becomes `request.auth`; there is no user."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        header = get_authorization_header(request).decode("latin-1").split(None, 1)
        if not header or settings.PLUGIN_AUTH == "none":
            # Clients that insist on a key send any text: where none is asked, none is checked.
            return None
        if header[0].lower() != "bearer" or len(header) != 2:
            raise AuthenticationFailed("Send the key as: Authorization: Bearer KEY.")
        key = ApiKey.objects.all().authenticate(header[1].strip())
        if key is None:
            raise AuthenticationFailed("This API key is unknown or was revoked.")
        key.touch()
        return None, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="kbadmin"'


class HasPluginAccess(BasePermission):
    """A valid key, unless KBADMIN_PLUGIN_AUTH is none."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return settings.PLUGIN_AUTH == "none" or isinstance(request.auth, ApiKey)
