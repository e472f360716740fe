#!/usr/bin/env bash
# Deploys a radio access network with a separate `tko up`, and checks each step:
#
#   examples/ran/run.sh
#
# The program is $TKO; without it, target/release/tko, built if missing. Exit code 0: every step
# ended as it should.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tko=${TKO:-$here/../../target/release/tko}
if [ ! -x "$tko" ]; then
    (cd "$here/../.." && cargo build --release --bin tko)
fi
tko=$(realpath "$tko")

work=$(mktemp -d)
server=
# shellcheck disable=SC2329 # Called by the trap.
tidy() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap tidy EXIT

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    local id
    for id in $("$tko" deployment list --max-count 0 2>/dev/null | sed -n "s/^- deploymentId: //p"); do "$tko" deployment show "$id" >&2 || true; done
    tail -n 20 "$work/log" >&2
    exit 1
}

# Waits until the rest of the arguments, a command, prints a text with $1 in it.
until_shows() {
    local text=$1 shown=
    shift
    for _ in $(seq 300); do
        shown=$("$@" 2>&1 || true)
        if [[ $shown == *"$text"* ]]; then return; fi
        sleep 0.2
    done
    fail "\"$*\" does not show \"$text\" but: $shown"
}

step() { printf '\n== %s\n' "$*"; }

manifests=$work/manifests
"$tko" up --backend memory --grpc-ip-stack ipv4 --grpc-port 0 --web-port 0 --manifests "$manifests" 2>"$work/log" &
server=$!
port=
for _ in $(seq 300); do
    port=$(sed -n 's/.*serving gRPC addresses=\[[^]]*:\([0-9]*\)\].*/\1/p' "$work/log")
    if [ -n "$port" ] || ! kill -0 "$server" 2>/dev/null; then break; fi
    sleep 0.1
done
[ -n "$port" ] || fail "tko up did not start to serve"
export TKO_GRPC_PORT=$port TKO_GRPC_IP_STACK=ipv4

step "sites, templates and a plugin"
for site in pune-1 pune-2 nagpur-1; do
    "$tko" site register "cell/$site" --url "$here/sites/$site.yaml"
done
"$tko" template register site/centre:v1 --url "$here/site"
for function in cu du smf; do
    "$tko" template register "nf/$function:v1" --url "$here/$function"
done
"$tko" plugin register prepare cell "$here/cell.py" --trigger radio.plugin.nephio.org,v1alpha1,Cell

step "the central unit: a topology in TKO's kinds, which provisions its site"
"$tko" template register topology/cu:v1 --url "$here/cu-topology"
cu=$("$tko" deployment create topology/cu:v1)
until_shows "nf/cu:v1" "$tko" deployment list --parent "$cu" --approved
until_shows "Site.region: pune" "$tko" site list --metadata Site.role=centre
"$tko" site list --metadata Site.role=centre
files() { find "$manifests" -path "*$1*" -name "*-deployment-*" | wc -l; }
until_shows 1 files cu-cu
grep -rq "region: pune" "$manifests"/provisioned* || fail "the settings of the central unit lack its region"

step "the session manager waits for an approval"
until_shows "nf/smf:v1" "$tko" deployment list --parent "$cu" --prepared
"$tko" deployment list --parent "$cu"
[ "$(files smf-smf)" = 0 ] || fail "it is on its site already"
"$tko" deployment approve --parent "$cu"
until_shows 1 files smf-smf

step "the distributed units: a topology in TOSCA, with inputs"
"$tko" tosca check "$here/du-topology/service.yaml" --input region=pune
cat >"$work/du.yaml" <<EOF
apiVersion: topology.nephio.org/v1alpha1
kind: TOSCA
metadata:
  name: radio
spec:
  url: $here/du-topology/service.yaml
  inputs:
    region: pune
    bandwidth: 40
EOF
du=$("$tko" deployment create --url "$work/du.yaml")
for site in pune-1 pune-2; do
    until_shows "siteId: cell/$site" "$tko" deployment list --parent "$du" --approved
done
until_shows 2 files du-du
[ -z "$(find "$manifests" -path '*nagpur*' -name '*du*')" ] || fail "there is a distributed unit in Nagpur"
[ "$(grep -rl 'cell.bandwidth: "40"' "$manifests" | wc -l)" = 2 ] || fail "the settings lack the bandwidth"
grep -rq "cell.name: pune-cell" "$manifests" || fail "the settings lack the name of the cell"
find "$manifests" -name '*.yaml' | sed "s|$manifests/||" | sort

step "a wrong input is a condition, and not a deployment"
sed -i.old 's/bandwidth: 40/bandwidth: 41/' "$work/du.yaml"
wrong=$("$tko" deployment create --url "$work/du.yaml")
until_shows "bandwidth" "$tko" deployment show "$wrong"
"$tko" deployment show "$wrong" | grep -m 1 'message:'

printf '\nall steps ended as they should\n'
