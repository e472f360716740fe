#!/usr/bin/env bash
# Renders the manifests of both set-ups from the chart, with helm 3 or 4:
#
#   deploy/kustomize/render.sh [HELM]
#
# The tests of tko-cli check that the manifests are up to date.
set -euo pipefail
cd "$(dirname "$0")"
for setup in small separate; do
    {
        echo "# Made by deploy/kustomize/render.sh from the chart, with values.yaml. Do not edit."
        "${1:-helm}" template tko ../chart --namespace tko-system --values "$setup/values.yaml" |
            sed -e 's/^\( *\)app.kubernetes.io\/managed-by: Helm$/\1app.kubernetes.io\/managed-by: kustomize/' \
                -e '/^ *$/d'
    } >"$setup/tko.yaml"
done
