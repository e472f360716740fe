#!/usr/bin/env python3
"""Opens the file that is its argument, writes a line to stderr, and waits until it is killed."""

import sys
import time

held = open(sys.argv[1], "w")
print("at work", file=sys.stderr, flush=True)
time.sleep(600)
