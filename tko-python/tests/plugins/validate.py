#!/usr/bin/env python3
"""Validates Ports with a schema of values."""

import tko

SCHEMA = {"type": dict, "schema": {"vlan": {"type": int, "required": True}, "name": str}}


def validate(complete):
    port = tko.get_target_resource()
    tko.validate_value("spec", port["spec"], complete, SCHEMA)


tko.validate(validate)
