#!/usr/bin/env python3
"""Never answers, ignores SIGTERM and has a child that does too: only killing the group helps.

Writes both process ids, one a line, to the file named by its argument.
"""

import os
import signal
import sys
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
parent = os.getpid()
child = os.fork()
if child:
    with open(sys.argv[1] + ".part", "w", encoding="utf-8") as ids:
        ids.write(f"{parent}\n{child}\n")
    os.rename(sys.argv[1] + ".part", sys.argv[1])
while True:
    time.sleep(3600)
