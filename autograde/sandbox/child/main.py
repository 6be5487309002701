"""The entrance of the process in which handed-in code runs.

- ``python -m autograde.sandbox.child.main warm CONTROL`` imports everything once and forks a boxed child per submission
  (`autograde.sandbox.child.forkserver`); CONTROL is the descriptor of a socket to the grader.
- ``python -m autograde.sandbox.child.main fresh …`` serves one submission in this very process, without a box: for
  machines that cannot fork or box. The grader records that.
"""

import json
import os
import socket
import sys

from autograde.sandbox import limits
from autograde.sandbox.child import forkserver, serve
from autograde.sandbox.isolation import import_guard


def _serve_fresh():
    """``fresh descriptor N REQUEST`` (a socket inherited), or ``fresh port N REQUEST`` with a token on stdin."""
    where, number, request = sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
    if where == "descriptor":
        connection = socket.socket(fileno=number)
    else:
        token = sys.stdin.buffer.read()
        connection = socket.create_connection(("127.0.0.1", number))
        connection.sendall(token)
    connection.set_inheritable(False)
    shell = serve.ready(request["course"])
    import_guard.refuse(request["refused"], request["given"])
    if os.name == "posix":
        limits.apply(request["limits"], shared=limits.address_space(), alone=False)
    serve.Far(connection, shell).run(request["isolation"])


def main():
    """Be the far side, in the way that the command line says."""
    if sys.argv[1] == "warm":
        forkserver.main(int(sys.argv[2]))
    else:
        _serve_fresh()


if __name__ == "__main__":
    main()
