# Two images, both from scratch:
#
#   docker build -t cache-canary .                       the binary alone
#   docker build -t cache-canary:shell --target shell .  with a shell, busybox' tools and healthcheck.sh
#
#   docker run -p 8080:8080 -e CACHE_URL=redis://cache:6379/0 cache-canary
#
# Public certificate authorities are built in. For one of your own, mount its certificate and set SSL_CERT_FILE.
#
# The licenses of everything in an image are in /usr/share/doc. release/image builds the images of a release, twice the same.

# The image to build in: Debian with the Rust that Cargo.toml names, for x86-64 and arm64.
ARG RUST_IMAGE=docker.io/library/rust:1.95-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082

FROM ${RUST_IMAGE} AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends busybox-static \
 && mkdir -p /out/bin /out/doc /out/busybox \
 && cp /bin/busybox /out/bin/ \
 && cp /usr/share/doc/busybox-static/copyright /usr/share/common-licenses/GPL-2 /out/busybox/ \
 && dpkg-query --show --showformat 'The source of busybox is the package ${source:Package} ${source:Version} of Debian.\n' \
      busybox-static >/out/busybox/source \
 && for tool in $(busybox --list); do [ "$tool" = busybox ] || ln -s busybox "/out/bin/$tool"; done
WORKDIR /build
# cargo-auditable puts the list of all crates into the program, where scanners of images read it.
COPY release/versions release/
RUN cargo install --quiet --locked --debug "$(sed -n 's/^\(cargo-auditable\) /\1@/p' release/versions)"
# With a target named, although it is the machine's own, procedural macros are built without these flags: they cannot be
# static.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN rustc -vV | sed -n 's/^host: //p' >target-name
# The dependencies are a layer of their own, which a change of the sources leaves as it is. The benchmarks are not built,
# but cargo wants to see what Cargo.toml names.
COPY Cargo.toml Cargo.lock build.rs build.ld ./
COPY benches benches
RUN mkdir src \
 && echo '//! Not there yet.' | tee src/lib.rs >src/main.rs \
 && echo 'fn main() {}' >>src/main.rs \
 && cargo auditable build --release --locked --target "$(cat target-name)"
COPY release/notices release/
RUN release/notices --target "$(cat target-name)" >/out/doc/NOTICES.txt \
 && gzip -9n /out/doc/NOTICES.txt \
 && gzip -9nc "$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html" >/out/doc/rust-library.html.gz
COPY src src
# Which commit this is, as cache_canary_build_info tells: --build-arg CACHE_CANARY_REVISION="$(git rev-parse HEAD)"
ARG CACHE_CANARY_REVISION=
# An image's files are as old as they were on the host, and cargo compares ages.
RUN touch src/lib.rs src/main.rs \
 && cargo auditable build --release --locked --target "$(cat target-name)" \
 && cp "target/$(cat target-name)/release/cache-canary" /out/

FROM scratch AS shell
LABEL org.opencontainers.image.title="cache-canary" \
      org.opencontainers.image.description="Says whether the caches an application depends on really work" \
      org.opencontainers.image.licenses="MIT AND GPL-2.0-only"
COPY --from=build /out/bin /bin
COPY --from=build /out/busybox /usr/share/doc/busybox
COPY --from=build /out/doc /usr/share/doc/cache-canary
COPY --from=build /out/cache-canary /cache-canary
COPY healthcheck.sh /healthcheck.sh
USER 65532:65532
EXPOSE 8080
# One failed check is one too many: a verdict is never a guess, so there is nothing to try again. The script gives up
# after 5 s by itself.
HEALTHCHECK --interval=10s --timeout=7s --start-period=5s --retries=1 CMD ["/healthcheck.sh"]
ENTRYPOINT ["/cache-canary"]
CMD ["serve"]

FROM scratch AS minimal
LABEL org.opencontainers.image.title="cache-canary" \
      org.opencontainers.image.description="Says whether the caches an application depends on really work" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /out/doc /usr/share/doc/cache-canary
COPY --from=build /out/cache-canary /cache-canary
USER 65532:65532
EXPOSE 8080
# As above.
HEALTHCHECK --interval=10s --timeout=7s --start-period=5s --retries=1 CMD ["/cache-canary", "healthcheck"]
ENTRYPOINT ["/cache-canary"]
CMD ["serve"]
