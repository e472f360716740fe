#!/bin/sh
# Renames the resource that triggers the plugin.
sed 's/name: gateway/name: other/'
