#!/usr/bin/env python3
"""Takes its input and never answers. Ends on SIGTERM."""

import sys
import time

sys.stdin.read()
while True:
    time.sleep(3600)
