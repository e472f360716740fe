#!/usr/bin/env python3
"""Dies of a signal, as from an out-of-memory killer."""

import os
import signal

os.kill(os.getpid(), signal.SIGKILL)
