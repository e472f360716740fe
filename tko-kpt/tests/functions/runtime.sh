#!/bin/sh
# Stands in for podman: records its calls next to itself, and runs the image named hang for ever.
# The image named report fails with results.
echo "$*" >>"$TKO_TEST_CALLS"
case "$*" in
    rm*) exit 0 ;;
    *example.com/hang*) exec sleep 1000 ;;
    *example.com/report*) exec "${0%/*}/report-fails.sh" ;;
    *) exec sed 's/name: a$/name: b/' ;;
esac
