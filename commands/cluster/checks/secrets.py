"""Whether the secrets of a run exist and have the keys that it needs. What is in them is never printed."""

import base64
from collections.abc import Iterator
from urllib.parse import urlsplit

from audiotagging.base.object_store import KEY_FILE, VARIABLES
from audiotagging.runs.notification import VARIABLE
from commands.cluster.checks.finding import OK, UNSEEN, WARNING, WRONG, Finding
from commands.cluster.checks.site import Site

# The credentials of which a secret must have all, by URL scheme. Azure's stores take several kinds.
CREDENTIALS: dict[str, list[tuple[str, ...]]] = {
    "s3": [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")],
    "gs": [(KEY_FILE,)],
    "abfs": [
        ("AZURE_STORAGE_KEY",),
        ("AZURE_STORAGE_SAS_TOKEN",),
        ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"),
    ],
}
KNOWN = {key for keys in VARIABLES.values() for key in keys}


def check_secrets(site: Site) -> Iterator[Finding]:
    """Yield what is wrong with the secret of the object stores, and with that of the notifications."""
    schemes = sorted({urlsplit(url).scheme for url in (*site.sources, *site.targets)})
    if site.cluster.secret:
        yield _of_stores(site, site.cluster.secret, schemes)
    elif schemes:
        stores = ", ".join(f"{scheme}://" for scheme in schemes)
        said = f"whether the pods have an identity in the cloud for {stores}, which they need without --secret"
        yield Finding("secret", UNSEEN, said, "--secret NAME, if they have none; --probe opens the store from a pod")
    else:
        yield Finding("secret", OK, "none is needed: no object store is named")
    if site.cluster.notify_secret:
        yield _of_notifications(site, site.cluster.notify_secret)


def _of_stores(site: Site, name: str, schemes: list[str]) -> Finding:
    what, content = f"secret {name}", _content(site, name)
    needed = [choice for scheme in schemes or ["s3"] for choice in CREDENTIALS[scheme]]
    make = _make(site, name, needed[0])
    if content is None:
        return Finding(what, WRONG, f"it does not exist in {site.namespace}; stages would wait for it", make)
    if content.get(KEY_FILE, b"{")[:1] not in (b"{", b""):
        said = f"{KEY_FILE} in it is not the content of a key file, which is JSON"
        return Finding(what, WRONG, said, f"delete it, and {make}")
    usable = {key for key, value in content.items() if key in KNOWN and value}
    useless = sorted(set(content) - usable)
    lacking = [key for scheme in schemes for key in _lacking(usable, scheme)]
    if not usable and not schemes:
        lacking = ["keys with the names of the stores' variables"]
    if not lacking:
        said = f"has {', '.join(sorted(usable))}" + (f"; {', '.join(useless)} is not used" if useless else "")
        return Finding(what, OK, said)
    if usable and not useless and not any(key in usable for choice in needed for key in choice):
        said = f"has {', '.join(sorted(usable))}, which is enough only if the pods have an identity in the cloud"
        return Finding(what, WARNING, said, f"otherwise delete it, and {make}")
    found = ", ".join(f"{key} (empty)" if key in KNOWN else key for key in useless) or ", ".join(sorted(usable))
    said = f"expected {' and '.join(lacking)} in it, found {found or 'no keys'}"
    return Finding(what, WRONG, said, f"delete it, and {make}")


def _lacking(usable: set[str], scheme: str) -> list[str]:
    """Return the missing keys for a store, of the kind of credentials of which the fewest are missing."""
    return min(([key for key in choice if key not in usable] for choice in CREDENTIALS[scheme]), key=len)


def _of_notifications(site: Site, name: str) -> Finding:
    what, content = f"secret {name}", _content(site, name)
    if content and content.get(VARIABLE):
        return Finding(what, OK, f"has {VARIABLE}")
    found = f"it does not exist in {site.namespace}" if content is None else f"it has no {VARIABLE}"
    return Finding(what, WRONG, f"{found}, so nobody would be told how a run ended", _make(site, name, (VARIABLE,)))


def _make(site: Site, name: str, keys: tuple[str, ...]) -> str:
    values = " ".join(f"--from-file={key}=FILE" if key == KEY_FILE else f"--from-literal={key}=..." for key in keys)
    return f"kubectl -n {site.namespace} create secret generic {name} {values}"


def _content(site: Site, name: str) -> dict[str, bytes] | None:
    """Return the content of a secret by its keys, None if it does not exist."""
    secret = site.in_namespace("secrets", name)
    if secret is None:
        return None
    return {key: base64.b64decode(value).strip() for key, value in (secret.get("data") or {}).items()}
