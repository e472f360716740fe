#!/usr/bin/env python3
"""Logs where the input says (the FIFO, or the TCP address), and to stderr, then answers.

Lines: `one`, `two`, one that is not UTF-8, one of 1 MB, and a last one without a line feed.
"""

import json
import socket
import sys

call = json.load(sys.stdin)
lines = b"one\ntwo\n\xff\xfe\n" + b"x" * 1_000_000 + b"\nlast"
if call["logFile"]:
    with open(call["logFile"], "wb") as log:
        log.write(lines)
else:
    host, _, port = call["logAddressPort"].rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port))) as log:
        log.sendall(lines)
print("on stderr", file=sys.stderr)
print('{"error": "", "prepared": false}')
