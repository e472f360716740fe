#!/bin/sh
# Never ends, and has a child that never ends either.
sleep 1000 &
while :; do :; done
