#!/bin/sh
# Returns a list without an error and exits with 4.
cat >/dev/null
cat <<'LIST'
apiVersion: config.kubernetes.io/v1
kind: ResourceList
items: []
results:
- message: only a warning
  severity: warning
LIST
echo 'cannot go on' >&2
exit 4
