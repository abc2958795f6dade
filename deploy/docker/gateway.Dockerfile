# SPDX-License-Identifier: Apache-2.0
# The gateway. From the root of the repository: docker build -f deploy/docker/gateway.Dockerfile .
FROM golang:1.26-bookworm AS build
ENV CGO_ENABLED=0 GOWORK=off
# For those who reach modules through a proxy of their own.
ARG GOPROXY
ARG GOSUMDB
# Module files alone first: as long as they stay, so does the layer with what they ask for.
COPY proto/go.mod proto/go.sum /src/proto/
COPY internal/go.mod internal/go.sum /src/internal/
COPY gateway/go.mod gateway/go.sum /src/gateway/
WORKDIR /src/gateway
RUN go mod download
COPY proto /src/proto
COPY internal /src/internal
COPY gateway /src/gateway
ARG VERSION=dev
RUN go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/gateway ./cmd/gateway

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/gateway /usr/bin/gateway
USER 65532:65532
# Loopback, the default of the flags, would be the container's own.
ENV TRIBUTARY_WEB_LISTEN_ADDRESS=:9201 TRIBUTARY_GRPC_LISTEN_ADDRESS=:9202
EXPOSE 9201 9202
ENTRYPOINT ["/usr/bin/gateway"]
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 CMD ["/usr/bin/gateway", "healthcheck"]
ARG VERSION=dev
ARG REVISION
LABEL org.opencontainers.image.title="tributary-gateway" \
      org.opencontainers.image.description="Prometheus remote write and read over HTTP, in front of Tributary's ingest and query services." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="https://github.com/tributary-project/tributary" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The Tributary authors"
