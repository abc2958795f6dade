#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# docker-compose.yml on a real Docker engine: it is built and comes up healthy, Prometheus writes and reads through the gateway,
# new replicas take load while it flows, a killed one costs no acknowledged sample, and the data outlives its container.
#
# `make compose-test` runs it. Where no engine answers it starts one and stops it again, which needs root and
# Debian's docker.io. Base images that cannot be pulled get local stand-ins (scripts/standin-images.sh). KEEP=1 leaves
# everything running at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
project=tributary-compose-test
balance_within=90 # seconds until a new replica has to take load
replicas=3
steady=(--series=2000 --samples-per-request=200 --senders=4 --rate=2000)
# As fast as it is taken, so that every replica always has calls in flight.
storm=(--series=4000 --samples-per-request=250 --senders=16 --duration=12s)

work=$(mktemp -d)
started=$(date +%s)
engine_pid= steady_pid= storm_pid= asking_pid=

say() { printf '%4ds  %s\n' $(($(date +%s) - started)) "$*"; }
die() { say "FAIL: $*" >&2; exit 1; }
now_ms() { date +%s%3N; }
since() { awk -v ms=$(($(now_ms) - $1)) 'BEGIN {printf "%.1f s", ms / 1000}'; }

# within SECONDS WHAT COMMAND...: the command succeeds before the time is over; says how long it took.
within() {
	local limit=$1 what=$2 from
	shift 2
	from=$(now_ms)
	until "$@"; do
		[ $(($(now_ms) - from)) -lt $((limit * 1000)) ] || die "$what: not within $limit s"
		sleep 0.5
	done
	say "$what: $(since "$from")"
}

compose() {
	# Ports are left to the engine, so that nothing else on this machine is in the way.
	TRIBUTARY_HTTP_PORT=0 TRIBUTARY_GRPC_PORT=0 TIMESTREAM_LOCAL_PORT=0 TIMESTREAM_LOCAL_ADMIN_PORT=0 PROMETHEUS_PORT=0 \
		bin/docker-compose --progress=plain -p $project "$@"
}

cleanup() {
	local status=$?
	trap - EXIT
	set +e
	for p in $steady_pid $storm_pid $asking_pid; do kill "$p" 2>/dev/null; done
	if [ $status != 0 ] && docker info >/dev/null 2>&1; then
		compose ps --all
		compose logs --no-color --tail=40
	fi
	if [ "${KEEP:-}" = 1 ]; then
		say "left running: docker-compose -p $project; files in $work"
		exit $status
	fi
	if docker info >/dev/null 2>&1; then
		docker rm -f $project-reader >/dev/null 2>&1
		compose down --volumes --remove-orphans --rmi local >"$work/down.log" 2>&1
		scripts/standin-images.sh --untag
	fi
	if [ -n "$engine_pid" ]; then
		kill "$engine_pid" && wait "$engine_pid"
		say "the engine is stopped"
	fi
	rm -rf "$work"
	exit $status
}
trap cleanup EXIT
trap 'exit 1' INT TERM

start_engine() {
	local why
	command -v docker >/dev/null || die "docker is missing: apt-get install docker.io"
	! docker info >/dev/null 2>&1 || return 0
	why=$(docker info 2>&1 | tail -n 1) || true
	[ -z "${DOCKER_HOST:-}" ] || die "the engine at $DOCKER_HOST does not answer: $why"
	[ "$(id -u)" = 0 ] || die "no Docker engine answers ($why), and starting one needs root"
	command -v dockerd >/dev/null || die "no Docker engine answers, and there is no dockerd to start: apt-get install docker.io"
	# Containers must not send larger packets than this machine can.
	local device mtu=1500
	device=$(awk '$2 == "00000000" {print $1; exit}' /proc/net/route)
	[ -z "$device" ] || mtu=$(cat "/sys/class/net/$device/mtu")
	dockerd --mtu "$mtu" >"$work/dockerd.log" 2>&1 &
	engine_pid=$!
	for _ in $(seq 60); do
		! docker info >/dev/null 2>&1 || { say "started an engine, $(docker version -f '{{.Server.Version}}')"; return 0; }
		kill -0 "$engine_pid" 2>/dev/null || break
		sleep 0.5
	done
	tail -n 5 "$work/dockerd.log" >&2
	die "dockerd does not start (a container without --privileged? no iptables?)"
}

ids() { compose ps --quiet "$@"; }
address() { docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }
status() { docker inspect -f '{{.State.Status}}/{{with .State.Health}}{{.Status}}{{end}}' "$1"; }
url() { echo "http://$(compose port "$1" "$2")"; }

# healthy N SERVICE: N containers of the service run and are healthy.
healthy() {
	local n=0 id
	for id in $(ids "$2"); do [ "$(status "$id")" != running/healthy ] || n=$((n + 1)); done
	[ $n = "$1" ]
}

# calls CONTAINER PORT METHOD: how many calls of the gRPC method the container has answered.
calls() {
	curl -sf -m 5 "http://$(address "$1"):$2/metrics" |
		awk -v m="grpc_method=\"$3\"" '/^grpc_server_handled_total/ && index($0, m) {n += $NF} END {printf "%d\n", n}'
}

# all_called PORT METHOD CONTAINER...: every one of them has answered calls.
all_called() {
	local port=$1 method=$2 id
	shift 2
	for id in "$@"; do [ "$(calls "$id" "$port" "$method")" -gt 0 ] 2>/dev/null || return 1; done
}

# promql URL QUERY: the value of the first sample.
promql() { curl -sf -m 10 "$1/api/v1/query" --data-urlencode "query=$2" | sed -n 's/.*"value":\[[0-9.]*,"\([^"]*\)"\].*/\1/p'; }
promql_is() { [ "$(promql "$1" "$2")" = "$3" ]; }

# write LEDGER FLAG...: loads the gateway until it is over or stopped; what was not acknowledged goes to LEDGER.log.
write() {
	local ledger=$work/$1
	shift
	exec bin/loadgen --url="$(url gateway 9201)/api/v1/write" --ledger="$ledger" --verbose "$@" >"$ledger.out" 2>"$ledger.log"
}

# written LEDGER STATUS: the load generator ended with STATUS; prints what it says.
written() {
	[ "$2" = 0 ] || die "load: $(cat "$work/$1.out" "$work/$1.log")"
	sed 's/^/       /' "$work/$1.out"
	say "attempts that were not acknowledged, and repeated: $(wc -l <"$work/$1.log")"
}

# verify WHEN: every sample that was ever acknowledged is read back.
verify() {
	local ledger
	for ledger in steady storm; do
		bin/loadgen verify --url="$(url gateway 9201)/api/v1/read" --ledger="$work/$ledger" >"$work/verify" || die "$1: acknowledged samples are not there"
		say "$1: $(sed 's/^verified *//' "$work/verify")"
	done
}

for tool in docker-compose loadgen; do [ -x bin/$tool ] || die "bin/$tool is missing: make bin/$tool"; done
start_engine

# Every image that a Dockerfile or the compose file starts from.
mapfile -t bases < <({ sed -n 's/^FROM \([^ ]*\).*/\1/p' deploy/docker/*.Dockerfile; sed -n 's/^ *image: *//p' docker-compose.yml; } | sort -u)
scripts/standin-images.sh "${bases[@]}"
say "base images are there: ${bases[*]}"

from=$(now_ms)
compose up --build --detach >"$work/up.log" 2>&1 || { tail -n 60 "$work/up.log" >&2; die "docker compose up --build"; }
say "docker compose up --build: $(since "$from")"
for s in gateway ingest query timestream-local prometheus; do within 120 "$s is healthy" healthy 1 $s; done
sizes=()
for s in gateway ingest query timestream-local; do
	id=$(ids $s)
	sizes+=("$s $(($(docker image inspect -f '{{.Size}}' "$(docker inspect -f '{{.Image}}' "$id")") / 1000000)) MB")
	user=$(awk '/^Uid:/ {print $2}' "/proc/$(docker inspect -f '{{.State.Pid}}' "$id")/status")
	[ "$user" = 65532 ] || die "$s runs as user $user"
	label=$(docker inspect -f '{{index .Config.Labels "org.opencontainers.image.title"}}' "$id")
	[ -n "$label" ] || die "the image of $s has no labels"
	! docker exec "$id" /bin/sh -c true >/dev/null 2>&1 || die "the image of $s has a shell"
done
say "every service runs as user 65532, without a shell; images: ${sizes[*]}"

# Prometheus: what it scrapes is read back by a second one that has nothing of its own.
prometheus=$(url prometheus 9090)
within 90 "Prometheus scrapes all five" promql_is "$prometheus" 'count(count by (job) (up == 1))' 5
cat >"$work/reader.yml" <<EOF
remote_read:
  - {url: "http://gateway:9201/api/v1/read", read_recent: true}
EOF
chmod 755 "$work" && chmod 644 "$work/reader.yml"
docker run --detach --name $project-reader --network ${project}_default --volume "$work/reader.yml:/etc/prometheus/prometheus.yml:ro" \
	"$(sed -n 's/^ *image: *//p' docker-compose.yml)" >/dev/null
reader=http://$(address $project-reader):9090
within 60 "an empty Prometheus reads all five back through the gateway" promql_is "$reader" 'count(count by (job) (up == 1))' 5
failed=$(promql "$prometheus" 'sum(prometheus_remote_storage_samples_failed_total + prometheus_remote_storage_samples_dropped_total{reason!="dropped_series"})')
[ "${failed:-0}" = 0 ] || die "Prometheus could not write $failed samples"

# Load on one replica, then on three.
write steady "${steady[@]}" --duration=20m &
steady_pid=$!
while sleep 0.3; do promql "$reader" 'count(up)' || true; done >/dev/null 2>&1 &
asking_pid=$!
first=$(ids ingest)
within 30 "load arrives at one replica" all_called 9212 Write "$first"
from=$(now_ms)
compose up --detach --scale ingest=$replicas --scale query=2 >"$work/scale.log" 2>&1 || { cat "$work/scale.log" >&2; die "docker compose up --scale"; }
say "docker compose up --scale ingest=$replicas --scale query=2: $(since "$from")"
within 60 "$replicas ingest replicas are healthy" healthy $replicas ingest
mapfile -t ingest < <(ids ingest)
mapfile -t query < <(ids query)
[[ " ${ingest[*]} " = *" $first "* ]] || die "scaling replaced the first replica"
within $balance_within "all $replicas ingest replicas take load" all_called 9212 Write "${ingest[@]}"
within $balance_within "both query replicas take load" all_called 9222 Read "${query[@]}"
took=$(since "$from")
[ $(($(now_ms) - from)) -le $((balance_within * 1000)) ] || die "all replicas take load $took after scaling began; it must be within $balance_within s"
say "from the command to load on all replicas: $took"
before=()
for id in "${ingest[@]}"; do before+=("$(calls "$id" 9212 Write)"); done
sleep 10
shares=()
for i in "${!ingest[@]}"; do shares+=($(($(calls "${ingest[$i]}" 9212 Write) - before[i]))); done
say "write calls in 10 s, by replica: ${shares[*]}"
for n in "${shares[@]}"; do [ "$n" -gt 0 ] || die "a replica takes no load any more"; done

# A replica dies under load.
write storm "${storm[@]}" &
storm_pid=$!
sleep 5
victim=${ingest[1]}
docker kill "$victim" >/dev/null
say "killed one of $replicas ingest replicas"
wait $storm_pid && ended=0 || ended=$?
storm_pid=
written storm $ended
kill $asking_pid
asking_pid=
kill $steady_pid || die "the load generator is gone: $(cat "$work/steady.log")"
wait $steady_pid && ended=0 || ended=$?
steady_pid=
written steady $ended
verify "after the kill"

# A process that crashes is started again, without anybody's help.
crashed=${ingest[0]}
kill -KILL "$(docker inspect -f '{{.State.Pid}}' "$crashed")"
restarted() { [ "$(docker inspect -f '{{.RestartCount}}' "$crashed")" = 1 ] && [ "$(status "$crashed")" = running/healthy ]; }
within 60 "a crashed replica is back and healthy" restarted

compose restart timestream-local >/dev/null 2>&1
within 60 "timestream-local is healthy after a restart" healthy 1 timestream-local
verify "after the restart"
docker rm -f $project-reader >/dev/null
compose down >/dev/null 2>&1
compose up --detach >/dev/null 2>&1
within 120 "gateway is healthy after down and up" healthy 1 gateway
verify "after down and up"
say "PASS"
