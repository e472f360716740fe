#!/bin/sh
# Reports a warning and an error.
cat >/dev/null
cat <<'LIST'
apiVersion: config.kubernetes.io/v1
kind: ResourceList
items: []
results:
- message: only a warning
  severity: warning
- message: too short
  severity: error
  resourceRef: {apiVersion: v1, kind: ConfigMap, name: a, namespace: prod}
  field: {path: data.key}
LIST
