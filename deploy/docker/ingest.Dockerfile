# SPDX-License-Identifier: Apache-2.0
# The ingest service. From the root of the repository: docker build -f deploy/docker/ingest.Dockerfile .
FROM golang:1.26-bookworm AS build
ENV CGO_ENABLED=0 GOWORK=off
# For those who reach modules through a proxy of their own.
ARG GOPROXY
ARG GOSUMDB
# Module files alone first: as long as they stay, so does the layer with what they ask for.
COPY proto/go.mod proto/go.sum /src/proto/
COPY internal/go.mod internal/go.sum /src/internal/
COPY timestream/go.mod timestream/go.sum /src/timestream/
COPY services/ingest/go.mod services/ingest/go.sum /src/services/ingest/
WORKDIR /src/services/ingest
RUN go mod download
COPY proto /src/proto
COPY internal /src/internal
COPY timestream /src/timestream
COPY services/ingest /src/services/ingest
ARG VERSION=dev
RUN go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/ingest ./cmd/ingest

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/ingest /usr/bin/ingest
USER 65532:65532
# Loopback, the default of the flags, would be the container's own.
ENV TRIBUTARY_GRPC_LISTEN_ADDRESS=:9211 TRIBUTARY_WEB_LISTEN_ADDRESS=:9212
EXPOSE 9211 9212
ENTRYPOINT ["/usr/bin/ingest"]
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 CMD ["/usr/bin/ingest", "healthcheck"]
ARG VERSION=dev
ARG REVISION
LABEL org.opencontainers.image.title="tributary-ingest" \
      org.opencontainers.image.description="Stores what Prometheus writes in Amazon Timestream." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="https://github.com/tributary-project/tributary" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The Tributary authors"
