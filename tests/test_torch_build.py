"""The build of torch that `make` installs where none is named."""

import http.server
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.background import running

SCRIPT = Path(__file__).parent.parent / "requirements" / "torch_build.py"


class Index(http.server.BaseHTTPRequestHandler):
    """Has torch, or nothing but a page that says so."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.page if self.path == "/torch/" else b"")

    def log_message(self, *_):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one build")
@pytest.mark.parametrize(
    ("gpus", "page", "build"),
    [
        ("GPU 0: NVIDIA L4 (UUID: GPU-a)", b'<a href="torch-2.13.0+cpu.whl">', "cuda"),
        ("No devices found", b'<a href="torch-2.13.0+cpu.whl">', "cpu"),
        (None, b'<a href="torch-2.13.0+cpu.whl">', "cpu"),
        (None, b"Log in to the network", "cuda"),
    ],
)
def test_the_small_build_is_taken_where_there_is_no_gpu_and_its_index_answers(tmp_path, gpus, page, build):
    shutil.copy(SCRIPT, tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    if gpus:
        (programs / "nvidia-smi").write_text(f"#!/bin/sh\necho '{gpus}'\n")
        (programs / "nvidia-smi").chmod(0o755)
    with running(http.server.HTTPServer(("127.0.0.1", 0), Index)) as server:
        server.page = page
        url = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "torch-cpu.txt").write_text(f"# A comment\n--extra-index-url {url}\n")
        command = [sys.executable, str(tmp_path / SCRIPT.name)]
        done = subprocess.run(command, env={"PATH": str(programs)}, capture_output=True, text=True, check=True)
    assert done.stdout == f"{build}\n"
    said = f"{url} does not answer: installing the CUDA build of torch instead (3 GB)\n"
    assert done.stderr == (said if build == "cuda" and not gpus else "")
