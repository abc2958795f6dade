#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks that everything generated is what generating it would make. Changes nothing. Arguments: the modules.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
fail() { echo "verify: $1" >&2; failed=1; }

# Generated code: regenerate a scratch copy and compare.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r buf.yaml buf.gen.yaml "$scratch/"
mkdir -p "$scratch/proto"
(cd proto && find . \( -name '*.proto' -o -path './openapi/config.yaml' \) -exec cp --parents {} "$scratch/proto/" \;)
ln -s "$PWD/bin" "$scratch/bin"
(cd "$scratch" && bin/buf generate)
while read -r f; do
	cmp -s "proto/$f" "$scratch/proto/$f" || fail "proto/$f is not what 'make gen' makes"
done < <(cd "$scratch/proto" && find . -name '*.pb.go' -o -name '*.pb.gw.go' -o -name '*.swagger.json')
while read -r f; do
	[ -e "$scratch/proto/$f" ] || fail "proto/$f is left over: no .proto file makes it any more"
done < <(cd proto && find . -name '*.pb.go' -o -name '*.pb.gw.go')

unformatted=$(gofmt -l "$@")
[ -z "$unformatted" ] || fail "not formatted, run 'make fmt': $unformatted"

for m in "$@"; do
	(cd "$m" && GOWORK=off go mod tidy -diff >/dev/null) || fail "$m/go.mod is not tidy, run 'make tidy'"
done

# The workspace names every module and nothing else; one version of each dependency in all of them.
want=$(printf './%s\n' "$@" | sort)
have=$(sed -n 's/^\t\(\.[^ ]*\)$/\1/p' go.work | sort)
[ "$want" = "$have" ] || fail "go.work and the Makefile name different modules"
conflicts=$(for m in "$@"; do (cd "$m" && GOWORK=off go mod edit -json) |
	sed -n '/"Require"/,/\]/p' | paste -sd' ' | grep -o '"Path": "[^"]*",[[:space:]]*"Version": "[^"]*"[^}]*' |
	grep -v Indirect | sed 's/"Path": "\([^"]*\)",[[:space:]]*"Version": "\([^"]*\)".*/\1 \2/'; done |
	sort -u | grep -v '^github.com/tributary-project/' | awk '{v[$1] = v[$1] " " $2; n[$1]++} END {for (p in n) if (n[p] > 1) print p v[p]}')
[ -z "$conflicts" ] || fail "modules ask for different versions: $conflicts"

# Every Go file says under which licence it stands.
unlicensed=$(git ls-files '*.go' | grep -vE '\.pb(\.gw)?\.go$' | while read -r f; do
	if [ -f "$f" ] && ! head -1 "$f" | grep -q '^// SPDX-License-Identifier: Apache-2.0$'; then echo "$f"; fi
done)
[ -z "$unlicensed" ] || fail "no SPDX line: $unlicensed"
exit $failed
