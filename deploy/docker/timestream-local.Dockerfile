# SPDX-License-Identifier: Apache-2.0
# timestream-local. From the root of the repository: docker build -f deploy/docker/timestream-local.Dockerfile .
# The one image with cgo: DuckDB comes as a static library. The archives of C++ are linked in, too, so that the binary needs the C
# library alone (`make bin/timestream-local` does the same).
FROM golang:1.26-bookworm AS build
ENV CGO_ENABLED=1 GOWORK=off
# For those who reach modules through a proxy of their own.
ARG GOPROXY
ARG GOSUMDB
# Module files alone first: as long as they stay, so does the layer with what they ask for.
COPY internal/go.mod internal/go.sum /src/internal/
COPY timestream/go.mod timestream/go.sum /src/timestream/
COPY timestream/local/go.mod timestream/local/go.sum /src/timestream/local/
WORKDIR /src/timestream/local
RUN go mod download
COPY internal /src/internal
COPY timestream /src/timestream
ARG VERSION=dev
# A fresh named volume takes owner and mode from the directory in the image.
RUN mkdir /cxx && ln -s "$(g++ -print-file-name=libstdc++.a)" /cxx/ \
 && go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION} -extldflags '-static-libgcc -L/cxx'" -o /out/timestream-local ./cmd/timestream-local \
 && mkdir /out/data

FROM gcr.io/distroless/base-nossl-debian12:nonroot
COPY --from=build /out/timestream-local /usr/bin/timestream-local
COPY --from=build --chown=65532:65532 /out/data /var/lib/timestream-local
USER 65532:65532
WORKDIR /var/lib/timestream-local
VOLUME /var/lib/timestream-local
# Loopback, the default of the flags, would be the container's own.
ENV TIMESTREAM_LOCAL_LISTEN_ADDRESS=:9231 TIMESTREAM_LOCAL_ADMIN_LISTEN_ADDRESS=:9232 TIMESTREAM_LOCAL_DATA_DIR=/var/lib/timestream-local
EXPOSE 9231 9232
ENTRYPOINT ["/usr/bin/timestream-local"]
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s --retries=3 CMD ["/usr/bin/timestream-local", "healthcheck"]
ARG VERSION=dev
ARG REVISION
LABEL org.opencontainers.image.title="timestream-local" \
      org.opencontainers.image.description="Amazon Timestream's write and query protocol over DuckDB." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="https://github.com/tributary-project/tributary" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The Tributary authors"
