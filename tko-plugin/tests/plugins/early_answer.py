#!/usr/bin/env python3
"""Prints a big answer before it reads its input: writing and reading must continue in parallel.

One thread that first writes and then reads would block for ever, both pipes being full.
"""

import sys

print('{"error": "", "prepared": false, "padding": "' + "x" * 1_000_000 + '"}', flush=True)
sys.stdin.read()
