#!/usr/bin/env python3
"""Prints 100 MB to stdout, or with the argument `stderr` to that, and then answers well."""

import sys

sys.stdin.read()
out = sys.stderr if sys.argv[1:] == ["stderr"] else sys.stdout
line = "x" * 99 + "\n"
for _ in range(1_000):
    out.write(line * 1_000)
print('{"error": ""}')
