#!/usr/bin/env python3
"""Answers and ends well, but leaves a child behind that holds stdout and stderr open.

The answer counts, and nobody waits for the child. Writes the child's process id to the file named by
its argument.
"""

import json
import os
import sys
import time

json.load(sys.stdin)
child = os.fork()
if child == 0:
    time.sleep(3600)
    os._exit(0)
with open(sys.argv[1] + ".part", "w", encoding="utf-8") as ids:
    ids.write(f"{child}\n")
os.rename(sys.argv[1] + ".part", sys.argv[1])
print('{"error": ""}')
