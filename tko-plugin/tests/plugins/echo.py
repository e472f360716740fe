#!/usr/bin/env python3
"""Answers with its whole input as the error, so that a test sees what a plugin sees."""

import json
import sys

json.dump({"error": json.dumps(json.load(sys.stdin))}, sys.stdout)
