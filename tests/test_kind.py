"""`manifests/kind.sh up` with programs of the same names in the place of Docker, kind and kubectl."""

import shutil
import socket
import subprocess

import pytest
from helpers.locked_packages import ROOT


def engine(said):
    """Return a program in the place of docker: architecture, CPUs and bytes of memory are as said."""
    return f'case "$1" in info) echo "{said} /var/lib/docker" ;; save) : >"$4" ;; esac'


GOOD = {
    "docker": engine("x86_64 8 16000000000"),
    "kind": 'case "$1" in version) echo "kind v0.32.0 go1.25 linux/amd64" ;; esac',
    "kubectl": 'case "$1" in version) printf "clientVersion:\\n  major: \\"1\\"\\n  minor: \\"36\\"\\n" ;; esac',
    "git": "true",
    "make": "true",
    "python": "echo image:1",
    "df": 'printf "head\\n/dev/vda 1 1 60000000 1%% /\\n"',
    "sysctl": 'case "$2" in *watches) echo 524288 ;; *) echo 512 ;; esac',
}
FREE = "8"  # a port that no program of this machine has: it is below those that users get


@pytest.fixture
def up(tmp_path):
    """Return a function that runs `kind.sh up` with other programs, and returns exit code, output and calls."""
    programs, calls = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()

    def run(port=FREE, without=(), anyway="", **other):
        for name, body in (GOOD | other).items():
            (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{calls}\n{body}\n')
            (programs / name).chmod(0o755)
        for name in without:
            (programs / name).unlink()
        calls.write_text("")
        versions = {
            "KIND_NODE_IMAGE": "kindest/node:v1.36.1@sha256:00",
            "KIND_VERSION": "0.32.0",
            "KFP_VERSION": "2.17.0",
        }
        for name in ("bash", "sed", "grep", "awk", "mktemp", "rm", "dirname", "sleep", "tail", "cat"):
            if not (programs / name).exists():
                (programs / name).symlink_to(shutil.which(name))
        environment = {"PATH": str(programs), "PORT": port, "ANYWAY": anyway, "PAUSE": "0", "TMPDIR": str(tmp_path)}
        done = subprocess.run(
            ["/bin/bash", str(ROOT / "manifests" / "kind.sh"), "up"],
            env=environment | versions,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr, calls.read_text().splitlines()

    return run


def test_a_good_machine_gets_a_cluster_with_all_images(up):
    code, output, calls = up()
    assert code == 0 and "missing" not in output and "expected" not in output and "== ready" in output
    assert len([call for call in calls if call.startswith("kind create cluster --name audiotagging --image")]) == 1
    assert len([call for call in calls if call.startswith("kind load image-archive")]) == 5
    applied = [call for call in calls if " apply --kustomize " in call]
    assert [call.partition("kustomize/")[2] for call in applied] == [
        "cluster-scoped-resources?timeout=300s&ref=2.17.0",
        "env/platform-agnostic?timeout=300s&ref=2.17.0",
    ]


LACKING = {
    "arm64": (
        {"docker": engine("aarch64 8 16000000000")},
        "missing: images for aarch64: Kubeflow publishes its images for amd64 alone",
    ),
    "CPUs": ({"docker": engine("x86_64 2 16000000000")}, "missing: 4 CPUs, found 2"),
    "memory": ({"docker": engine("x86_64 4 8330000000")}, "missing: 12 GB of memory, found 8330 MB"),
    "disk": (
        {"df": 'printf "head\\n/dev/vda 1 1 20000000 1%% /\\n"'},
        "missing: 30 GB of disk in /var/lib/docker, found 20480 MB",
    ),
    "inotify": (
        {"sysctl": 'case "$2" in *watches) echo 524288 ;; *) echo 128 ;; esac'},
        "missing: inotify limits of 524288 watches and 512 instances, found 524288 and 128\n"
        "     ->  sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512",
    ),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_a_machine_lacks_is_said_before_anything_is_made(up, case):
    other, expected = LACKING[case]
    code, output, calls = up(**other)
    assert code == 2 and expected in output and "nothing was made; ANYWAY=1 goes on nevertheless" in output
    assert not any(
        call.startswith(("kind create", "make", "kubectl --context kind-audiotagging apply")) for call in calls
    )


def test_everything_that_is_lacking_is_said_at_once_and_anyway_goes_on(up):
    bad = {"docker": engine("arm64 2 4000000000")}
    code, output, _ = up(**bad)
    assert code == 2 and output.count("missing: ") == 3
    code, output, calls = up(**bad, anyway="1")
    assert code == 0 and output.count("missing: ") == 3
    assert any(call.startswith("kind create cluster") for call in calls)


def test_missing_programs_are_all_named(up):
    code, output, _ = up(without=["kind", "kubectl"])
    assert code == 2 and output.count("which is not installed") == 2
    assert "missing: kind, which is not installed\n     ->  https://kind.sigs.k8s.io (v0.32.0)" in output


def test_an_engine_that_does_not_answer_is_said(up):
    code, output, _ = up(docker="exit 1")
    assert code == 2 and "Docker's engine does not answer: start it" in output


def test_what_cannot_be_seen_of_an_engine_elsewhere_is_said(up):
    code, output, _ = up(df="exit 1", sysctl="exit 1")
    assert code == 0
    assert "not seen: how much disk is free, because /var/lib/docker is on another machine; 30 GB are needed" in output
    assert "not seen: the limits of inotify, because Docker's engine is on another machine" in output


def test_a_port_that_is_in_use_is_said(up):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, output, _ = up(port=port)
    assert code == 2 and f"missing: port {port} for kind-test: another program uses it" in output


VERSIONS = {
    "kind": (
        {"kind": 'case "$1" in version) echo "kind v0.32.01 go1.25" ;; esac'},
        "expected kind v0.32.0, found kind v0.32.01 go1.25; using it anyway",
    ),
    "old kubectl": (
        {"kubectl": 'case "$1" in version) printf "  minor: 34+\\n" ;; esac'},
        "expected kubectl 1.35 to 1.37 for Kubernetes 1.36, found 1.34; using it anyway",
    ),
    "silent kubectl": (
        {"kubectl": 'case "$1" in version) echo "error" ;; esac'},
        "expected kubectl 1.35 to 1.37 for Kubernetes 1.36, found 1.?; using it anyway",
    ),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_other_versions_are_used_and_said(up, case):
    other, expected = VERSIONS[case]
    code, output, _ = up(**other)
    assert code == 0 and expected in output.replace("'", "")


def test_kubeflows_manifests_are_asked_for_again(up, tmp_path):
    fails_twice = f"""
        case "$1" in version) printf '  minor: "36"\\n'; exit ;; esac
        case "$*" in *cluster-scoped*) ;; *) exit 0 ;; esac
        echo x >>{tmp_path}/tries
        [ "$(grep -c x {tmp_path}/tries)" -gt 2 ] || {{ echo "error: context deadline exceeded" >&2; exit 1; }}
    """
    code, output, calls = up(kubectl=fails_twice)
    assert code == 0 and output.count("context deadline exceeded") == 2
    assert len([call for call in calls if "cluster-scoped-resources" in call]) == 3


def test_a_cluster_that_is_there_is_kept(up):
    is_there = 'case "$1" in version) echo "kind v0.32.0 go" ;; get) echo audiotagging ;; esac'
    code, _, calls = up(kind=is_there)
    assert code == 0 and not any(call.startswith("kind create") for call in calls)
