#!/bin/sh
# Prints something else than a ResourceList.
cat >/dev/null
printf 'not: [a, list\n'
