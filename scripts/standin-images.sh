#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes sure that base images are there. Usage: standin-images.sh TAG...
#
# An image that is neither here nor to be pulled gets a local stand-in under the same tag, so that the very same
# Dockerfiles are built: Go from this machine on a Debian of debootstrap; the files that the distroless images have, from
# the same Debian; Prometheus from its Go module. Stand-ins trust the certificate authorities that this machine trusts. They are
# kept as tributary-standin/TAG for the next time; `standin-images.sh --untag` takes the public tags away again.
# Needs a Docker engine, root, debootstrap and Go. DEBIAN_MIRROR says where debootstrap looks.
set -euo pipefail
cd "$(dirname "$0")/.."
nonroot=65532
say() { echo "base images: $*" >&2; }
die() { say "$*"; exit 1; }

scratch=
cleanup() { [ -z "$scratch" ] || rm -rf "$scratch"; }
trap cleanup EXIT

# Debian with a C and C++ compiler, made once per run at most.
debian() {
	[ -n "$scratch" ] || scratch=$(mktemp -d)
	[ ! -e "$scratch/debian/etc/debian_version" ] || return 0
	[ "$(id -u)" = 0 ] || die "debootstrap needs root"
	command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
	say "debootstrap from ${DEBIAN_MIRROR:-its default mirror}"
	debootstrap --variant=minbase --include=ca-certificates,gcc,g++,libc6-dev bookworm "$scratch/debian" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$scratch/log" 2>&1 ||
		{ tail -n 20 "$scratch/log" >&2; die "debootstrap failed"; }
	[ ! -s /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$scratch/debian/etc/ssl/certs/"
}

# import TAG [change...]: standard input becomes the image tributary-standin/TAG.
import() {
	local tag=$1 changes=()
	shift
	for c in "$@" "LABEL tributary.standin.source=$(go env GOVERSION)"; do changes+=(--change "$c"); done
	docker import "${changes[@]}" - "tributary-standin/$tag" >/dev/null
}

golang() {
	debian
	mkdir -p "$scratch/debian/usr/local/go" "$scratch/debian/go"
	tar -C "$(go env GOROOT)" --exclude=./test --exclude=./api --exclude=./doc -c . | tar -C "$scratch/debian/usr/local/go" --no-same-owner -x
	tar --numeric-owner -C "$scratch/debian" --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./dev/*' -c . |
		import "$1" 'ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
			'ENV GOPATH=/go' 'ENV GOTOOLCHAIN=local' 'WORKDIR /go' 'CMD ["bash"]'
}

# distroless TAG PACKAGE...: the files of the packages, accounts, certificates; no shell.
distroless() {
	local tag=$1 root files
	shift
	debian
	root=$scratch/distroless files=$scratch/files
	rm -rf "$root"
	mkdir -p "$root"/{etc/ssl/certs,tmp,var/tmp,root,home/nonroot,usr/bin,usr/lib}
	ln -s usr/lib "$root/lib" && ln -s usr/lib "$root/lib64" && ln -s usr/bin "$root/bin"
	for p in "$@"; do chroot "$scratch/debian" dpkg -L "$p"; done | grep -E '^(/usr)?/lib|^/usr/share/zoneinfo' | sort -u | while read -r f; do
		[ -d "$scratch/debian$f" ] && [ ! -L "$scratch/debian$f" ] || echo "$f"
	done >"$files"
	while read -r f; do
		mkdir -p "$root$(dirname "$f")"
		cp -a "$scratch/debian$f" "$root$f"
	done <"$files"
	# The loader is looked for in /lib64, which here is /usr/lib.
	[ ! -e "$root/usr/lib64/ld-linux-x86-64.so.2" ] || ln -sf ../lib64/ld-linux-x86-64.so.2 "$root/usr/lib/"
	cp "$scratch/debian/etc/ssl/certs/ca-certificates.crt" "$root/etc/ssl/certs/"
	cp "$scratch/debian/etc/os-release" "$root/etc/" 2>/dev/null || cp "$scratch/debian/usr/lib/os-release" "$root/etc/"
	printf 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:%s:%s:nonroot:/home/nonroot:/sbin/nologin\n' $nonroot $nonroot >"$root/etc/passwd"
	printf 'root:x:0:\nnobody:x:65534:\nnonroot:x:%s:\n' $nonroot >"$root/etc/group"
	echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
	chmod 1777 "$root/tmp" "$root/var/tmp" && chown $nonroot:$nonroot "$root/home/nonroot" && chmod 700 "$root/home/nonroot" "$root/root"
	tar --numeric-owner -C "$root" -c . | import "$tag" 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
		'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' "USER $nonroot" 'WORKDIR /home/nonroot'
}

# The image of Prometheus without busybox. Discovery by DNS is in, which the compose file's configuration uses.
prometheus() {
	[ -n "$scratch" ] || scratch=$(mktemp -d)
	local root=$scratch/prometheus
	mkdir -p "$root"/{bin,etc/prometheus,etc/ssl/certs,prometheus,tmp}
	say "building prometheus and promtool"
	(cd tools/prometheus && GOWORK=off go build -tags remove_all_sd,enable_dns_sd -o "$root/bin/" \
		github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool)
	# Built as `make bin/prometheus` builds it, which saves compiling all of it again, so it needs this machine's libc.
	local library
	for library in $(ldd "$root"/bin/* | grep -o '/[^ :]*\.so[^ ]*' | sort -u); do cp -L --parents "$library" "$root"; done
	printf 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
	printf 'root:x:0:\nnobody:x:65534:\n' >"$root/etc/group"
	[ ! -s /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
	chown -R 65534:65534 "$root/etc/prometheus" "$root/prometheus"
	chmod 1777 "$root/tmp"
	tar --numeric-owner -C "$root" -c . | import "$1" 'ENV PATH=/bin' 'USER nobody' 'WORKDIR /prometheus' 'EXPOSE 9090' 'VOLUME /prometheus' \
		'ENTRYPOINT ["/bin/prometheus"]' 'CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]'
}

standin() {
	local tag=$1 made
	made=$(docker image inspect -f '{{index .Config.Labels "tributary.standin.source"}}' "tributary-standin/$tag" 2>/dev/null || true)
	if [ "$made" != "$(go env GOVERSION)" ]; then
		say "making a stand-in for $tag"
		case $tag in
		golang:*) golang "$tag" ;;
		gcr.io/distroless/static-debian12:*) distroless "$tag" tzdata ;;
		gcr.io/distroless/base-nossl-debian12:*) distroless "$tag" tzdata libc6 ;;
		prom/prometheus:*) prometheus "$tag" ;;
		*) die "no stand-in is known for $tag" ;;
		esac
	fi
	docker tag "tributary-standin/$tag" "$tag"
}

if [ "${1:-}" = --untag ]; then
	docker image ls --format '{{.Repository}}:{{.Tag}}' --filter reference='tributary-standin/*:*' --filter reference='tributary-standin/*/*:*' --filter reference='tributary-standin/*/*/*:*' |
		while read -r image; do
			tag=${image#tributary-standin/}
			[ "$(docker image inspect -f '{{.Id}}' "$tag" 2>/dev/null)" != "$(docker image inspect -f '{{.Id}}' "$image")" ] || docker rmi "$tag" >/dev/null
		done
	exit 0
fi

for tag in "$@"; do
	if docker image inspect "$tag" >/dev/null 2>&1; then
		continue
	fi
	if error=$(timeout 600 docker pull --quiet "$tag" 2>&1); then
		say "pulled $tag"
	else
		say "cannot pull $tag: ${error##*$'\n'}"
		standin "$tag"
	fi
done
