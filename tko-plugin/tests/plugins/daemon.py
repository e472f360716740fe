#!/usr/bin/env python3
# Starts a daemon in a separate session, writes both process ids, and answers.

import os
import sys
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(3):
            os.close(descriptor)
        part = sys.argv[1] + ".part"
        with open(part, "w") as file:
            file.write(f"{os.getpid()}\n")
        os.rename(part, sys.argv[1])
        time.sleep(600)
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
sys.stdin.read()
print("prepared: false")
