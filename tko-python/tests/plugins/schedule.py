#!/usr/bin/env python3
"""Schedules a site: prints what goes where."""

import tko


def schedule():
    for package in tko.get_deployments():
        without, within = tko.meta_schedule(package)
        tko.log(f"apply {len(without)} and {len(within)} to {tko.get_target_resource_identifier().name}")
    for package in tko.get_removed_deployments():
        tko.log(f"delete {len(package)}")


tko.schedule(schedule)
