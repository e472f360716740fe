#!/bin/sh
# Reports a result of each severity.
cat >/dev/null
cat <<'LIST'
apiVersion: config.kubernetes.io/v1
kind: ResourceList
items: []
results:
- message: set
  field: {path: spec.replicas}
- message: only a warning
  severity: warning
- message: too short
  severity: error
  resourceRef: {apiVersion: v1, kind: ConfigMap, name: a, namespace: prod}
  field: {path: data.key}
LIST
