"""Stands in for the client's interpreter: hands its pipes to a `SharedClient` and lives as long as its fork there.

It is started for every build, so it imports nothing but what it needs. An order that the shared client can't serve
goes to the interpreter itself: another environment (a login, other jars), or another module; so does every order while
a test wants clients of their own.
"""

import json
import os
import socket
import sys

COUNTS = ("FLINK_", "JVM_", "JAVA_", "SLUICE_CLIENT_")
"""How the names of variables begin that decide which JVM a client has."""


def main() -> int:
    """The exit status of the client."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to import than all else
        given = json.load(file)
    arguments = sys.argv[2:]
    own = {name: value for name, value in os.environ.items() if name.startswith(COUNTS)}
    # Each client has temporary files of its own.
    own["JVM_ARGS"] = " ".join(word for word in own["JVM_ARGS"].split() if not word.startswith("-Djava.io.tmpdir="))
    is_lent = arguments == ["-m", "sluice.client"] and own == given["variables"]
    if not is_lent or os.listdir(given["own"]):  # noqa: PTH208 - as above
        os.execv(given["python"], [given["python"], *arguments])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(given["socket"])
        words = json.dumps(dict(os.environ)).encode()
        socket.send_fds(connection, [len(words).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(words)
        # The fork reads and writes the pipes: this process holds none open.
        for descriptor in (0, 1):
            os.close(descriptor)
        status = connection.recv(1)
    return status[0] if status else 70


if __name__ == "__main__":
    sys.exit(main())
