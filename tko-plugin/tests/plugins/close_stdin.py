#!/usr/bin/env python3
"""Closes stdin without reading it and answers: the controller must survive a broken pipe."""

import os

os.close(0)
print('{"error": "", "prepared": false}')
