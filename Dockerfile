# syntax=docker/dockerfile:1

ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches are no part of any layer, so what is to stay is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p proxy \
    && install -D target/release/pgherd /out/pgherd \
    && strip --strip-debug /out/pgherd

# glibc, certificates of authorities and a user without rights; no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/pgherd /usr/local/bin/pgherd
USER 65532:65532
EXPOSE 6432
# Drains: open transactions may finish, as [session] shutdown_timeout allows.
STOPSIGNAL SIGTERM
# The image has no other program to ask with. A proxy that died is noticed by its exit; this finds a mounted
# configuration that the next start would refuse.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/usr/local/bin/pgherd", "check-config"]
ENTRYPOINT ["/usr/local/bin/pgherd"]
# Its configuration: PGHERD_CONFIG, else DATABASE_URL, else /etc/pgherd/pgherd.toml.
CMD ["run"]
