#!/bin/sh
# Starts a Docker engine if none is running, and installs the packages that this and docker/base-image.sh need. It does
# this as root on Debian or Ubuntu; elsewhere it prints what is missing.
set -eu

answers() { docker info >/dev/null 2>&1; }

missing=
command -v debootstrap >/dev/null || missing="$missing debootstrap"
answers || command -v dockerd >/dev/null || missing="$missing docker.io"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    if [ "$missing" ]; then
        apt-get update -qq
        # shellcheck disable=SC2086  # each word is a package
        apt-get install -qq -y --no-install-recommends $missing
    fi
elif [ "$missing" ]; then
    echo "error: these packages are missing:$missing; install them, or run this as root on Debian or Ubuntu" >&2
    exit 1
elif ! answers; then
    echo "error: no Docker engine is running; start one, or run this as root on Debian or Ubuntu" >&2
    exit 1
fi

answers && exit
log=/var/log/dockerd.log
setsid dockerd >"$log" 2>&1 </dev/null &
for second in $(seq 60); do
    answers && exit
    sleep 1
done
echo "error: dockerd did not answer within $second seconds; its log, $log, ends with" >&2
tail -n 20 "$log" >&2
exit 1
