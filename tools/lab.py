"""Open JupyterLab on the course: `python tools/lab.py [JUPYTERLAB OPTION...]`, with PORT from the environment.

This file only handles what would stop a newcomer: a port that is in use, root in a container, a machine without a
display, and a kernel named python3 of another Python.
"""

import os
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_PORT = 8888


def main(options):
    os.chdir(ROOT)  # nbgrader's Validate and formgrader read nbgrader_config.py from here
    # Jupyter searches these folders for kernels in order, and notebooks ask for "python3": ours must come first.
    ours = f"{sys.prefix}/share/jupyter"
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [ours, os.environ.get("JUPYTER_PATH")]))

    command = [sys.executable, "-m", "jupyterlab", *port_options(os.environ.get("PORT"))]
    # The server's root is the course's, since formgrader has to reach all of it; the learner starts in notebooks/.
    command += [f"--ServerApp.root_dir={ROOT}"]
    command += ["--LabApp.default_url=/lab/tree/notebooks"] if Path("notebooks").is_dir() else []
    # Open tabs are stored beside the course: those in the home directory are from other projects.
    command += [f"--LabApp.workspaces_dir={sys.prefix}/share/jupyter/lab/workspaces"]
    command += ["--log-level=WARN", "--LabApp.log_level=WARN"]  # the address to open is always printed
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command += ["--allow-root"]  # Jupyter refuses root by default, and in a container the user is root
    if not has_display():
        command += ["--no-browser"]
        print(
            "No display here: open the address below in a browser.\n"
            "From outside a container or from another machine: make lab ARGS=--ip=0.0.0.0, or an SSH tunnel.",
            flush=True,
        )
    print("Ctrl-C twice stops JupyterLab.", flush=True)
    os.execv(sys.executable, [*command, *options])


def port_options(wanted):
    """JupyterLab's options for the port `wanted`, or for the next free one if it is None or empty.

    Exits with a message if `wanted` cannot be used.
    """
    if not wanted:
        port = next((port for port in range(DEFAULT_PORT, DEFAULT_PORT + 50) if not port_problem(port)), 0)
        if port != DEFAULT_PORT:
            print(f"Port {DEFAULT_PORT}: {port_problem(DEFAULT_PORT)}. Using port {port}.", flush=True)
        return [f"--port={port}"]
    if not wanted.isdecimal() or not 0 < int(wanted) < 65536:
        sys.exit(f"PORT={wanted} is not a port: it must be a number from 1 to 65535, as in make lab PORT=8899.")
    if reason := port_problem(int(wanted)):
        sys.exit(
            f"Port {wanted}: {reason}.\n"
            f"Choose another, as in make lab PORT={int(wanted) % 65535 + 1}, or leave PORT out to get one that is free."
        )
    return [f"--port={wanted}", "--ServerApp.port_retries=0"]


def port_problem(port):
    """Why a server cannot listen on a port of this machine; None if it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return None
        except PermissionError:
            return "ports below 1024 are the administrator's"
        except OSError:
            pass
    from jupyter_server.serverapp import list_running_servers  # slow to import, so only here

    for server in list_running_servers():
        if server["port"] == port:
            here = Path(server["root_dir"]) == ROOT
            whose = "this course is open there already" if here else "another Jupyter server is there"
            address = f"{server['url']}lab?token={server['token']}"
            return f"{whose}, {address} (to stop it: .venv/bin/jupyter lab stop {port})"
    return "taken by another program"


def has_display():
    if os.environ.get("BROWSER") or sys.platform == "win32":
        return True
    if sys.platform == "darwin":
        return not os.environ.get("SSH_CONNECTION")
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    main(sys.argv[1:])
