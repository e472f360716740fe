#!/usr/bin/env python3
"""Prints output that is not YAML; by argument: `binary` is not even UTF-8, `list` is not a map, `empty` is nothing."""

import sys

sys.stdin.read()
kind = sys.argv[1] if len(sys.argv) > 1 else "text"
answers = {"text": b"{{{ : ]\n\t@ % nonsense\n", "binary": b"\xff\xfe\x00\x80\n", "list": b"- 1\n", "empty": b""}
sys.stdout.buffer.write(answers[kind])
