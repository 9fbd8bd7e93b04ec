#!/bin/sh
# Builds the base of the images on a host without access to a registry, from Debian packages.
#
#   docker/base-image.sh BASE BUILDER TORCH
#
# BASE contains Debian, Python 3.11 and the CA certificates of the host, and replaces python:3.11-slim-bookworm. BUILDER
# is BASE with the wheels of all packages of the images, in the versions of constraints.txt. The pip of the host collects
# them with the settings of the host (such as an index or certificates), so that the images are built without a network
# and contain none of these settings. TORCH is the build of torch, cpu or cuda; the cuda build includes the CUDA packages.
# Existing images are kept.
#
# Requires root, debootstrap, a Docker engine and Python 3.11. MIRROR is the Debian mirror, by default that of the host.
set -eu

base=$1
builder=$2
torch=$3
python=${PYTHON:-python3}
project=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! docker image inspect "$base" >/dev/null 2>&1; then
    mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)}
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$work/root" "$mirror"
    cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
    rm -rf "$work"/root/var/cache/* "$work"/root/var/lib/apt/lists/* "$work"/root/var/log/* \
        "$work"/root/usr/share/doc/* "$work"/root/usr/share/locale/* "$work"/root/usr/share/man/*
    tar -C "$work/root" -c . | docker import --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' - "$base"
fi

if ! docker image inspect "$builder" >/dev/null 2>&1; then
    "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
        echo "$0: expected Python 3.11, as in the images, to collect the wheels, found $("$python" --version); set PYTHON" >&2
        exit 2
    }
    collect() {
        "$python" -m pip wheel --quiet --constraint "$project/constraints.txt" --wheel-dir "$work/wheels" \
            --find-links "$work/wheels" "$@"
    }
    mkdir -p "$work/project/src" "$work/wheels"
    cp "$project/pyproject.toml" "$work/project/"
    touch "$work/project/README.md"
    # Collect torch first, because its index has other packages too. Without access to that index, pip takes any build.
    case $torch in cpu) collect --no-deps --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu torch ;; esac
    collect "$work/project[data,training,results,pipeline]" setuptools
    rm "$work"/wheels/audiotagging-*.whl
    cat > "$work/Dockerfile" <<END
FROM $base
COPY wheels /wheels
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
END
    docker build --tag "$builder" "$work"
fi
