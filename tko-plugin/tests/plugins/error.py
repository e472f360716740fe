#!/usr/bin/env python3
"""Ends well and answers with an error, as an SDK script does whose function raised."""

import sys

sys.stdin.read()
print('{"error": "no free VLAN in 100-199"}')
