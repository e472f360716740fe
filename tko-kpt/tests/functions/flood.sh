#!/bin/sh
# Prints without end.
yes 'apiVersion: config.kubernetes.io/v1'
