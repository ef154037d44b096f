"""Fails unless the address answers with success: python healthcheck.py URL [SECONDS]."""

import sys
import urllib.request


def main(url: str, seconds: str = "5") -> str | None:
    """Why it is not healthy, or None."""
    # The environment may name a proxy, which would look for 127.0.0.1 on itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=float(seconds)):
            return None
    except (OSError, ValueError) as error:
        return f"{url}: {error}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
