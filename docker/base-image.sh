#!/bin/sh
# Builds the base of the images on a host without access to a registry, from Debian packages.
#
#   docker/base-image.sh BASE BUILDER TORCH
#
# BASE contains Debian, Python 3.11 and the CA certificates of the host, and replaces the image of the Makefile. BUILDER
# is BASE with the files of all packages of the images, as locked in requirements/. The pip of the host collects them and
# checks their hashes, with the settings of the host (such as an index or certificates), so that the images are built
# without a network and contain none of these settings. TORCH is the build of torch, cuda or cpu. PyPI has the former;
# the latter comes from an index of its own. Existing images are kept.
#
# Requires root, debootstrap, a Docker engine and Python 3.11 with the packages of requirements/build.txt. MIRROR is the
# Debian mirror, by default that of the host.
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
    for packages in build data training results tagging onnx pipeline "torch-$torch"; do
        "$python" -m pip download --quiet --no-deps --no-build-isolation --dest "$work/wheels" \
            --requirement "$project/requirements/$packages.txt"
    done
    cat > "$work/Dockerfile" <<END
FROM $base
COPY wheels /wheels
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
END
    docker build --tag "$builder" "$work"
fi
