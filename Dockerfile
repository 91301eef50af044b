# Two images from one file: `--target meter` is the aggregator, `--target edge` workerd with the workers. Both have glibc and
# nothing else, no shell either, and run as a user without rights.
ARG DEBIAN=bookworm

FROM rust:1.95-${DEBIAN} AS build
# Node makes the dashboard, cargo the maker of the documentation, and npm brings workerd; versions of both are in lock files.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends nodejs npm \
  && rm -rf /var/lib/apt/lists/* \
  && rustup target add wasm32-unknown-unknown
WORKDIR /meter
COPY . .
RUN cargo xtask edge && cargo xtask dashboard && cargo xtask docs
RUN cargo build --release --locked --package aggregator --bin meter
WORKDIR /meter/tools/workerd
RUN npm ci --ignore-scripts --no-audit --no-fund \
  && cp node_modules/@cloudflare/workerd-linux-*/bin/workerd /usr/local/bin/workerd
# What a volume begins as belongs to the user that writes to it.
RUN mkdir -p /state/meter /state/edge

FROM gcr.io/distroless/cc-debian12:nonroot AS meter
COPY --from=build /meter/target/release/meter /usr/local/bin/meter
COPY --from=build --chown=65532:65532 /state/meter /var/lib/palveron-meter
ENV DATABASE_URL=sqlite:///var/lib/palveron-meter/meter.db METER_LISTEN=0.0.0.0:8080 METER_LOG_FORMAT=json
USER 65532:65532
VOLUME /var/lib/palveron-meter
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/meter"]
CMD ["serve"]

FROM gcr.io/distroless/cc-debian12:nonroot AS edge
COPY --from=build /usr/local/bin/workerd /usr/local/bin/workerd
COPY --from=build /meter/target/edge /opt/palveron/edge
COPY --from=build --chown=65532:65532 /state/edge /var/lib/palveron-edge
USER 65532:65532
VOLUME /var/lib/palveron-edge
EXPOSE 8787
ENTRYPOINT ["/usr/local/bin/workerd", "serve", "/opt/palveron/edge/workerd.capnp", \
  "--socket-addr", "edge=0.0.0.0:8787", "--directory-path", "homes=/var/lib/palveron-edge"]
CMD ["--external-addr", "aggregator=aggregator:8080", "--external-addr", "upstream=upstream:8090"]
