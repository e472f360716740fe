#!/usr/bin/env python3
"""Says why on stderr, a half answer on stdout, and exits with 3."""

import sys

sys.stdin.read()
print('{"prepared": true, "package": [', end="")
print("the address pool is exhausted", file=sys.stderr)
sys.exit(3)
