#!/bin/sh
# Writes the files of this folder: exact versions of all packages, the indirect ones too, with the hashes of their files.
#
#   requirements/lock.sh [--upgrade]
#
# `make lock` calls it after a change of pyproject.toml. Without --upgrade, only what has to change changes. Every file
# is for all platforms: Linux and macOS, and Python 3.11 to 3.14. pip then installs only files that have these hashes:
#
#   pip install --requirement requirements/build.txt
#   pip install --no-deps --no-build-isolation --requirement requirements/NAME.txt
#
#   build        pip, and setuptools for the project and for the one package without wheels
#   data, training, results, tagging, onnx, pipeline
#                the packages of the images, without torch; named after groups of pyproject.toml
#   dev          all of these, and what development needs
#   torch-cuda   torch and the packages of CUDA, from PyPI; on macOS, its only build of torch
#   torch-cpu    the CPU build of torch, for Linux from an index of its own
#
# The images of the stages also contain kfp without its dependencies, because its executor does not need them. The image
# onnx runs no stage.
#
# Requires Python 3.11 or newer (PYTHON), with access to PyPI, and to PyTorch's index when the version of torch changes.
set -eu
cd "$(dirname "$0")/.."

cpu_index=https://download.pytorch.org/whl/cpu
work=build/lock
mkdir -p "$work"
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9

compile() {
    "$work/venv/bin/uv" pip compile --quiet --universal --generate-hashes --no-annotate --no-header "$@"
}

# Selects packages by name: those that only torch's build for CUDA has, with torch itself ("1"), or all others ("0").
cuda() {
    awk -v wanted="$1" '/^[a-z]/ { found = /^(torch|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==/ } found == wanted' "$2"
}

write() {
    {
        echo "# Written by \`make lock\`. See requirements/lock.sh."
        echo "--only-binary :all:"
        echo "--no-binary kfp-server-api"
        cat
    } >"$work/new.txt"
    mv "$work/new.txt" "requirements/$1.txt"
}

all=$work/all.txt
grep -hv '^--' requirements/dev.txt requirements/torch-cuda.txt >"$all" || true  # versions to keep
compile --group dev --output-file "$all" "$@" pyproject.toml >/dev/null
cuda 0 "$all" | write dev
cuda 1 "$all" | write torch-cuda

only() {
    grep -E "^($1)==" "$all" | tr -d '\\' | compile --no-deps -
}
only "pip|setuptools" | write build
for image in data training results tagging onnx pipeline; do
    # librosa's compiler is 190 MB, and compiles nothing of what preprocess calls (src/audiotagging/data/verification.py).
    compile --group "$image" --constraint "$all" --no-emit-package numba --no-emit-package llvmlite >"$work/$image.txt"
    case "$image" in onnx | pipeline) ;; *) only kfp >>"$work/$image.txt" ;; esac
    cuda 0 "$work/$image.txt" | write "$image"
done

torch=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$all")
if ! grep -q "^torch==$torch+cpu " requirements/torch-cpu.txt; then
    printf '%s\n' "torch==$torch+cpu ; sys_platform == 'linux'" "torch==$torch ; sys_platform == 'darwin'" |
        compile --no-deps --extra-index-url "$cpu_index" --index-strategy unsafe-best-match - >"$work/torch-cpu.txt"
    { echo "--extra-index-url $cpu_index"; cat "$work/torch-cpu.txt"; } | write torch-cpu
fi
