"""The entry point of processes for handed-in code that are started, not forked.

- ``python -m autograde.sandbox.child.main server CONTROL`` is a fork server (`autograde.sandbox.child.forkserver`);
  CONTROL is the descriptor of a socket to the grader.
- ``python -m autograde.sandbox.child.main fresh …`` serves one submission in this very process, without a sandbox: for
  machines that cannot fork or isolate. The grader records that.
"""

import json
import os
import socket
import sys

from autograde.sandbox import limits
from autograde.sandbox.child import serve
from autograde.sandbox.isolation import import_guard


def serve_unsandboxed(connection, course, hear):
    """Serve one submission in this process, as it is.

    Args:
        connection: a socket to the grader.
        course: as `serve.ready` takes it.
        hear: called once the course is imported. Gives a dict: "refused", modules that may not be imported, but for the
            files of "given"; "limits"; "isolation", the record for the grader; "folder", the working directory, or None to stay in
            this one.
    """
    connection.set_inheritable(False)
    shell, modules = serve.ready(course)
    request = hear()
    import_guard.refuse(request["refused"], request["given"])
    if request["folder"] is not None:
        os.chdir(request["folder"])
    if os.name == "posix":
        limits.apply(request["limits"], shared=limits.address_space(), alone=False)
    serve.SessionServer(connection, shell, modules).run(request["isolation"])


def _serve_fresh():
    """``fresh descriptor N REQUEST`` (a socket inherited), or ``fresh port N REQUEST`` with a token on stdin."""
    where, number, request = sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
    if where == "descriptor":
        connection = socket.socket(fileno=number)
    else:
        token = sys.stdin.buffer.read()
        connection = socket.create_connection(("127.0.0.1", number))
        connection.sendall(token)
    serve_unsandboxed(connection, request["course"], lambda: request)


def main():
    """Do what the command line says."""
    if sys.argv[1] == "server":
        from autograde.sandbox.child import forkserver

        forkserver.main(int(sys.argv[2]))
    else:
        _serve_fresh()


if __name__ == "__main__":
    main()
