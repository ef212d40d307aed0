"""What talks to object stores: obstore's clients, and what they refuse in words of ours."""

import os
from datetime import timedelta
from functools import cache
from typing import Any

from ..errors import ConfigError, StoreError
from .places import Url

NO_CONDITIONS = "501 Not Implemented"

_METADATA = "http://169.254.169.254/"  # where machines of a cloud are told who they are
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")

_SETTINGS = {
    "s3:": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, for a store of one's own, "
    "AWS_ENDPOINT_URL",
    "gs:": "GOOGLE_APPLICATION_CREDENTIALS",
    "az:": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


def explained(root: Url, doing: str, error: Exception) -> StoreError:
    """Return an error that says which store would not, and what to set or do."""
    said = str(error).partition("\n")[0][:300]
    if NO_CONDITIONS in said or type(error).__name__ == "NotSupportedError":
        remedy = "it has no conditional puts, without which two writers could take each other's "
        remedy += "work for their own; use S3, GCS, Azure, MinIO, or a folder"
    elif type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        remedy = f"access is denied; set {_SETTINGS.get(root.parts[0])}, or ask for the right"
    elif _METADATA in said:
        remedy = f"no credentials were given; set {_SETTINGS.get(root.parts[0])}"
    else:
        remedy = f"can it be reached? see {_SETTINGS.get(root.parts[0])}; the same command goes on"
    return StoreError(f"{root}: cannot {doing.strip()}: {said}; {remedy}")


@cache
def client(bucket: str, _process: int) -> Any:
    """Return what talks to a store, one a process."""
    from obstore.exceptions import BaseError
    from obstore.store import MemoryStore, from_url

    if bucket.startswith("memory:"):
        return MemoryStore()
    for name in _ENDPOINTS:
        if not os.environ.get(name, "http://").startswith(("http://", "https://")):
            told = os.environ[name]
            raise ConfigError(f"{name} is {told!r}; a URL was expected, such as http://{told}")
    backoff: Any = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5)}
    retries: Any = {"max_retries": 5, "retry_timeout": timedelta(minutes=2), "backoff": backoff}
    client: Any = {
        "allow_http": True,
        "connect_timeout": "10s",
        "read_timeout": "60s",
        "timeout": "1h",
    }
    try:  # http is allowed, since an endpoint without TLS is one that somebody has set
        return from_url(bucket, client_options=client, retry_config=retries)
    except BaseError as error:
        raise explained(Url(bucket), "open the store", error) from error
