#!/bin/sh
# Returns its input. Fails unless the input has the configuration and the marks.
input=$(cat)
for words in 'count: "3"' 'internal.config.kubernetes.io/index' 'config.kubernetes.io/path: package.yaml'; do
    case $input in
        *"$words"*) ;;
        *) echo "no $words in: $input" >&2; exit 1 ;;
    esac
done
printf '%s\n' "$input"
