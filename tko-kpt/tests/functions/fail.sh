#!/bin/sh
# Fails with a message.
cat >/dev/null
echo 'no luck today' >&2
exit 3
