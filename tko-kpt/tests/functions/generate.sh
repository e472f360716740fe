#!/bin/sh
# Adds a ConfigMap before all other items, with the file and the position of the first resource.
while IFS= read -r line; do
    printf '%s\n' "$line"
    if [ "$line" = items: ]; then
        cat <<'ITEM'
- apiVersion: v1
  kind: ConfigMap
  metadata:
    name: generated
    annotations:
      internal.config.kubernetes.io/path: generated.yaml
      internal.config.kubernetes.io/index: "0"
      config.kubernetes.io/path: generated.yaml
      config.kubernetes.io/index: "0"
ITEM
    fi
done
