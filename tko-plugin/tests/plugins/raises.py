#!/usr/bin/env python3
"""Raises an exception that nobody catches."""

import os
import sys

if "TKO_WORKER" in os.environ:
    # The first frame is the hello of the controller.
    kind, number, length = sys.stdin.buffer.readline().split()
    sys.stdin.buffer.read(int(length))
    hello = b'{"protocol": 1}'
    sys.stdout.buffer.write(b"hello 0 %d\n%s" % (len(hello), hello))
    sys.stdout.buffer.flush()
    sys.stdin.buffer.readline()


def find_vlan(free):
    """The first free VLAN."""
    return free[0]


find_vlan([])
