#!/usr/bin/env -S python3 -IS
"""Needs TKO's SDK. Isolated and without site packages, no interpreter has it."""

import tko

tko.prepare(lambda: True)
