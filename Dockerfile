# A static binary, and nothing else. Build: docker build -t sideband .
# On an arm64 builder: docker build --build-arg TARGET=aarch64-unknown-linux-musl -t sideband .
FROM rust:1.95-bookworm AS build

# Static musl takes about 1.5 MB less resident memory than glibc.
ARG TARGET=x86_64-unknown-linux-musl
ARG REVISION=unknown

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY rust-toolchain.tom[l] Cargo.toml Cargo.lock ./
COPY src ./src

# A builder that cannot get the target's standard library (no rustup, no network) links its own C library statically.
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN command -v rustup >/dev/null && rustup target add "$TARGET" || true; \
    target=$TARGET; \
    if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then \
      target=$(rustc --print host-tuple); \
      echo "no standard library for $TARGET here: building for $target, statically"; \
      export RUSTFLAGS='-C target-feature=+crt-static'; \
    fi; \
    SIDEBAND_REVISION=$REVISION cargo build --release --locked --bin sideband --target "$target"; \
    mkdir -p /image/var/lib/sideband; \
    cp "target/$target/release/sideband" /image/sideband; \
    if readelf -d /image/sideband | grep NEEDED; then echo 'the binary is not static'; exit 1; fi; \
    chmod 0755 /image/sideband

FROM scratch
LABEL org.opencontainers.image.title="sideband" \
      org.opencontainers.image.description="Prometheus-compatible sidecar: exporter, rule engine, sigma bands and paging" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/sideband/sideband"
COPY --from=build --chown=65532:65532 /image/var/lib/sideband /var/lib/sideband
COPY --from=build /image/sideband /sideband
USER 65532:65532
WORKDIR /var/lib/sideband
EXPOSE 19309
VOLUME ["/var/lib/sideband"]
ENTRYPOINT ["/sideband"]
# The configuration is mounted as a directory, so that a changed file is seen.
CMD ["--config.file=/etc/sideband/config/sideband.yml", "--web.listen-address=:19309", "--storage.path=/var/lib/sideband"]
