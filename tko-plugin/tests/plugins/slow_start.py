#!/usr/bin/env python3
"""Reads its input only after as many seconds as its argument says, and then answers."""

import json
import sys
import time

time.sleep(float(sys.argv[1]))
json.load(sys.stdin)
print('{"error": "", "prepared": false}')
