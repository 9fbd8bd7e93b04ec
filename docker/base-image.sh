#!/bin/sh
# Makes the images' base on a host that reaches no registry: Debian's packages instead of python:3.11-slim-bookworm.
#
#   docker/base-image.sh BASE BUILDER TORCH
#
# BASE gets Debian, Python 3.11 and the host's CA bundle. BUILDER is BASE with the wheels of every package that an image
# needs, in the versions of constraints.txt. The host's own pip collects them with its own settings (an index of the
# site, folders, certificates), so that images are built without a network and hold none of that. TORCH is the build of
# torch, cpu or cuda; CUDA's packages come along where that build depends on them. An image that exists is kept.
#
# Needs root, debootstrap, a Docker engine and Python 3.11. MIRROR is the Debian mirror, by default the host's own.
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
        echo "$0: the wheels must be collected by Python 3.11, as in the images; $python is another (set PYTHON)" >&2
        exit 2
    }
    collect() {
        "$python" -m pip wheel --quiet --constraint "$project/constraints.txt" --wheel-dir "$work/wheels" \
            --find-links "$work/wheels" "$@"
    }
    mkdir -p "$work/project/src" "$work/wheels"
    cp "$project/pyproject.toml" "$work/project/"
    touch "$work/project/README.md"
    # torch first: its index has other packages too, and where it cannot be reached pip takes the build that it finds.
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
