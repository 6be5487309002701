"""`make lab`: JupyterLab on the course, at a port that is free, with the course's own kernel."""

import importlib.metadata
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from run_make import ROOT


@pytest.fixture
def lab(monkeypatch):
    """tools/lab.py as a module, on a machine without display, run by nobody in particular."""
    spec = importlib.util.spec_from_file_location("lab", ROOT / "tools" / "lab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.sys, "platform", "linux")
    for name in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "PORT", "JUPYTER_PATH"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.chdir(ROOT)
    return module


@pytest.fixture
def taken():
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def command_of(lab, monkeypatch, *options):
    commands = []
    monkeypatch.setattr(os, "execv", lambda program, command: commands.append(command))
    lab.main(options)
    return commands[0]


def test_a_port_that_was_asked_for_and_is_taken(taken):
    cases = {str(taken): "taken by another program", "80a": "is not a port", "70000": "is not a port"}
    for port, reason in cases.items():
        environment = {**os.environ, "PORT": port}
        done = subprocess.run(
            [sys.executable, "tools/lab.py"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 1 and reason in done.stderr and "make lab PORT=" in done.stderr


def test_a_port_that_nobody_asked_for_and_is_taken(lab, monkeypatch, capsys, taken):
    monkeypatch.setattr(lab, "DEFAULT_PORT", taken)
    port = int(command_of(lab, monkeypatch)[3].removeprefix("--port="))
    assert taken < port < taken + 50
    assert f"Port {taken}: taken by another program. Using port {port}." in capsys.readouterr().out


def test_a_free_port_that_was_asked_for_is_used_or_nothing(lab, monkeypatch, taken):
    monkeypatch.setattr(lab, "port_problem", lambda port: None)
    monkeypatch.setenv("PORT", str(taken))
    assert {f"--port={taken}", "--ServerApp.port_retries=0"} < set(command_of(lab, monkeypatch))


def test_root_is_let_in_and_others_need_no_leave(lab, monkeypatch):
    assert "--allow-root" not in command_of(lab, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert "--allow-root" in command_of(lab, monkeypatch)


def test_a_browser_opens_where_there_is_a_display(lab, monkeypatch, capsys):
    assert "--no-browser" in command_of(lab, monkeypatch)
    assert "open the address below" in capsys.readouterr().out
    monkeypatch.setenv("DISPLAY", ":0")
    assert "--no-browser" not in command_of(lab, monkeypatch)


def test_options_are_passed_on(lab, monkeypatch):
    assert command_of(lab, monkeypatch, "--ip=0.0.0.0")[-1] == "--ip=0.0.0.0"


@pytest.mark.slow
def test_jupyterlab_serves_the_course_with_its_own_kernel(tmp_path):
    """The server answers, nbgrader is in it, and a stale kernel named python3 does not get in the way."""
    stale = {"argv": ["/no/such/python"], "display_name": "stale", "language": "python"}
    for folder in [tmp_path / "home/.local/share/jupyter", tmp_path / "path"]:
        (folder / "kernels/python3").mkdir(parents=True)
        (folder / "kernels/python3/kernel.json").write_text(json.dumps(stale))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "JUPYTER_DATA_DIR": str(tmp_path / "home/.local/share/jupyter"),
        "JUPYTER_PATH": str(tmp_path / "path"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "PORT": str(port),
    }
    log = tmp_path / "log"
    with log.open("w") as stream:
        command = [sys.executable, ROOT / "tools/lab.py", "--no-browser"]
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    try:
        address = None
        for _ in range(600):
            if address := re.search(rf"http://127\.0\.0\.1:{port}/lab/tree/notebooks\?token=(\w+)", log.read_text()):
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
        assert address, "the address to open was not printed"

        def get(page):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{page}")
            request.add_header("Authorization", f"token {address[1]}")
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)

        assert get("/api/kernelspecs")["kernelspecs"]["python3"]["spec"]["display_name"] != "stale"
        assert get("/api/contents/solutions?content=0")["type"] == "directory", "formgrader has to reach it all"
        assert get(f"/nbgrader_version?version={importlib.metadata.version('nbgrader')}") == {"success": True}, (
            "Validate is there"
        )
    finally:
        server.terminate()
        server.wait(600)
