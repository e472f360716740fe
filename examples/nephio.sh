#!/usr/bin/env bash
# Registers every kpt package below a folder as a template, with a separate `tko up`, and prints
# the result of each:
#
#   examples/nephio.sh DIR
#
# DIR is a checkout of the public catalog nephio-project/catalog, or a part of it. A package is a
# folder with a Kptfile, subpackages included; its resources are those of its .yaml and .yml files
# and the Kptfile itself. The program is $TKO; without it, target/release/tko, built if missing.
#
# Exit code 0: every package was registered, or its fault is listed in nephio.faults, next to this
# script. A package that is listed there but has no fault is a failure, too; so is a missing folder.
set -euo pipefail

if [ $# -ne 1 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
if [ ! -d "$1" ]; then
    echo "there is no folder \"$1\"; give the path of a checkout of nephio-project/catalog" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$1" && pwd)
tko=${TKO:-$here/../target/release/tko}
if [ ! -x "$tko" ]; then
    (cd "$here/.." && cargo build --release --bin tko)
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

# A Kptfile is a resource, too, but TKO reads only files whose names end like those of YAML files.
cp -R "$root" "$work/packages"
find "$work/packages" -name Kptfile -exec mv {} {}.yaml \;
cd "$work/packages"

"$tko" up --grpc-port 0 2>"$work/log" &
server=$!
port=
for _ in $(seq 100); do
    port=$(sed -n 's/.*serving gRPC addresses=\[[^,]*:\([0-9]*\)[],].*/\1/p' "$work/log")
    if [ -n "$port" ] || ! kill -0 "$server" 2>/dev/null; then break; fi
    sleep 0.1
done
if [ -z "$port" ]; then
    echo "tko up did not start to serve:" >&2
    cat "$work/log" >&2
    exit 1
fi
export TKO_GRPC_PORT=$port

known() {
    sed 's/#.*//' "$here/nephio.faults" | awk -v package="$1" '$1 == package { found = 1 } END { exit !found }'
}

registered=0 faulty=0 unexpected=0
printf '%-52s  %9s  %s\n' PACKAGE RESOURCES RESULT
while IFS= read -r kptfile; do
    folder=$(dirname "$kptfile")
    id=nephio/${folder#./}:v1
    resources=- result=registered
    if "$tko" --quiet template register "$id" --url "$folder" 2>"$work/error"; then
        resources=$("$tko" template get "$id" | grep -c '^apiVersion:')
        if known "${folder#./}"; then
            unexpected=$((unexpected + 1))
            result="registered, but listed in nephio.faults: remove it from there"
        else
            registered=$((registered + 1))
        fi
    elif known "${folder#./}"; then
        faulty=$((faulty + 1))
        result="known fault"
    else
        unexpected=$((unexpected + 1))
        result="FAILED"
    fi
    printf '%-52s  %9s  %s\n' "${folder#./}" "$resources" "$result"
    if [ "$resources" = - ]; then sed 's/^/    /' "$work/error"; fi
done < <(find . -name Kptfile.yaml | LC_ALL=C sort)

total=$((registered + faulty + unexpected))
printf '\n%d packages: %d registered, %d with known faults, %d not as expected\n' \
    "$total" "$registered" "$faulty" "$unexpected"
if [ "$total" -eq 0 ]; then
    echo "found no package below $root; is it a checkout of the catalog?" >&2
    exit 1
fi
test "$unexpected" -eq 0
