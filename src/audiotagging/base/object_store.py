"""Opens object stores by URL: S3 and compatible stores, Google Cloud Storage, and Azure Blob Storage.

It uses pyarrow, which is in every image. Credentials come from where the tools of these stores look for them: from the
environment variables below, from the files that these tools write, or from the cloud in which the program runs.
"""

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from pyarrow import ArrowException
from pyarrow.fs import (
    AwsStandardS3RetryStrategy,
    AzureFileSystem,
    FileSystem,
    GcsFileSystem,
    S3FileSystem,
    resolve_s3_region,
)

from audiotagging.base.errors import UserError
from audiotagging.base.machine import check_machine

ATTEMPTS = 4  # per request, with growing pauses
CONNECT_SECONDS = 10.0
SILENT_SECONDS = 20.0  # without data, after which a request fails

SECRET = Path("/secrets")  # where a stage finds the secret that `--secret` names
KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"  # this variable names a file

# Environment variables for the credentials and the address of a store, by URL scheme.
VARIABLES = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
    ),
    "gs": (KEY_FILE,),
    "abfs": (
        "AZURE_STORAGE_ACCOUNT",
        "AZURE_STORAGE_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
    ),
}
# Messages of the stores' libraries.
DENIED = re.compile(r"ACCESS_DENIED|ACCESS_KEY_ID|SIGNATURE|credential|authenticat|PERMISSION_DENIED", re.IGNORECASE)
NO_BUCKET = re.compile(
    r"NO_SUCH_BUCKET|bucket does not exist|Bucket '[^']*' not found|ContainerNotFound", re.IGNORECASE
)
NOTHING = re.compile(r"NOT_FOUND|No such file or directory")
NO_ANSWER = re.compile(r"NETWORK_CONNECTION.*(?:Details: |operation: )(.*)")


def check_url(url: str) -> None:
    """Check that a URL is that of a supported object store.

    Raises:
        UserError: If its scheme is not supported, or if it names no bucket.
    """
    parts = urlsplit(url)
    if parts.scheme not in VARIABLES or not parts.netloc:
        expected = ", ".join(f"{scheme}://BUCKET/FOLDER" for scheme in VARIABLES)
        raise UserError(f"expected the URL of a folder in an object store, one of {expected}, found {url!r}")


def open_store(url: str, *, endpoint: str = "") -> tuple[FileSystem, str]:
    """Open the store of a URL, and return it with the path in it, which starts with the bucket.

    Args:
        url: `s3://BUCKET/FOLDER`, `gs://BUCKET/FOLDER`, `abfs://CONTAINER/FOLDER` or
            `abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER`.
        endpoint: URL of an S3 store, such as `http://localhost:9000`. The default is `AWS_ENDPOINT_URL` if that is set,
            and otherwise Amazon's store.

    Raises:
        UserError: If the URL has another form, or if the store cannot be reached.
    """
    check_url(url)
    _read_secret()
    parts = urlsplit(url)
    bucket = parts.netloc.partition("@")[0]
    with store_errors(url):
        store = _OPENERS[parts.scheme](parts, bucket, endpoint)
    return store, f"{bucket}/{unquote(parts.path).strip('/')}".rstrip("/")


def _read_secret() -> None:
    """Set the environment variables from a mounted secret, which has one file per variable.

    They are set only in this process, because other programs of the pod may use another store and other credentials.
    """
    for name in itertools.chain(*VARIABLES.values()):
        file = SECRET / name
        if file.exists():
            os.environ[name] = str(file) if name == KEY_FILE else file.read_text().strip()


def _open_s3(parts: SplitResult, bucket: str, endpoint: str) -> FileSystem:
    endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    address = {}
    if endpoint:
        scheme, separator, host = endpoint.rstrip("/").rpartition("://")
        address = {"endpoint_override": host, "scheme": scheme if separator else "https"}
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    else:
        region = resolve_s3_region(bucket)  # Amazon answers only in the bucket's own region
    return S3FileSystem(
        **address,
        region=region,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=SILENT_SECONDS,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )


def _open_google(parts: SplitResult, bucket: str, endpoint: str) -> FileSystem:
    return GcsFileSystem(retry_time_limit=timedelta(seconds=SILENT_SECONDS))


def _open_azure(parts: SplitResult, bucket: str, endpoint: str) -> FileSystem:
    account = parts.netloc.partition("@")[2].partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise UserError(
            f"{parts.geturl()}: expected a storage account in the URL (abfs://{bucket}@ACCOUNT.dfs.core.windows.net) "
            "or in AZURE_STORAGE_ACCOUNT, found none"
        )
    return AzureFileSystem(
        account,
        account_key=os.environ.get("AZURE_STORAGE_KEY"),
        sas_token=os.environ.get("AZURE_STORAGE_SAS_TOKEN"),
    )


_OPENERS = {"s3": _open_s3, "gs": _open_google, "abfs": _open_azure}


@contextmanager
def store_errors(url: str, *, what: str = "read") -> Iterator[None]:
    """Replace the exceptions of pyarrow in this block by one line that says what went wrong and what to do.

    Args:
        url: The URL, for the message.
        what: What happens in the block: the folder is "read" or "written".

    Raises:
        UserError: In place of the exceptions of pyarrow.
    """
    try:
        yield
    except UserError:
        raise
    except (OSError, ArrowException) as error:
        check_machine(error)
        raise UserError(f"{url} cannot be {what}: {_reason(url, ' '.join(str(error).split()))}") from error


def _reason(url: str, text: str) -> str:
    parts = urlsplit(url)
    variables = ", ".join(VARIABLES[parts.scheme])
    if NO_BUCKET.search(text):
        return f"there is no bucket {parts.netloc.partition('@')[0]!r} in this store"
    if match := NO_ANSWER.search(text):
        return f"no answer from the store ({match[1]}); is its address right?"
    if DENIED.search(text):
        return f"access is denied; expected credentials for it in {variables} (on a cluster, by --secret)"
    if NOTHING.search(text):
        return "there is nothing of this name in the store"
    return re.sub(r" ?\(Request ID: .*?\)", "", text)
