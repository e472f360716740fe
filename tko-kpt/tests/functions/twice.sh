#!/bin/sh
# Returns a resource twice.
cat >/dev/null
cat <<'LIST'
apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
LIST
