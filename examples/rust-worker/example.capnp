# A Rust worker of your own beside the meter in one workerd. After `cargo xtask edge --examples`, which builds it into
# target/examples:
#
#   workerd serve --import-path=target examples/rust-worker/example.capnp \
#     --socket-addr gateway=127.0.0.1:8789 --directory-path homes=/var/lib/palveron-meter
#
# The meter's own addresses and secrets are as in edge/workerd.capnp.

using Workerd = import "/workerd/workerd.capnp";
using Edge = import "/edge/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "gateway", worker = .gateway),
    (name = "meter", worker = Edge.meter),
    (name = "objects", worker = Edge.homes),
    (name = "homes", disk = (path = "homes", writable = true)),
    (name = "aggregator", external = (address = "127.0.0.1:8080", http = ())),
    (name = "upstream", external = (address = "127.0.0.1:8090", http = ())),
    (name = "center", external = (address = "127.0.0.1:8788", http = ())),
    (name = "network", network = Edge.network),
  ],
  sockets = [
    (name = "gateway", address = "127.0.0.1:8789", http = (), service = "gateway"),
    # The aggregator pushes policies here.
    (name = "edge", address = "127.0.0.1:8787", http = (), service = "meter"),
  ],
);

const gateway :Workerd.Worker = (
  compatibilityDate = "2026-10-01",
  modules = [
    (name = "entry.js", esModule = embed "entry.js"),
    (name = "worker.js", esModule = embed "/examples/worker.js"),
    (name = "worker_bg.wasm", wasm = embed "/examples/worker_bg.wasm"),
  ],
  bindings = [
    (name = "METER_KEY_SECRETS", fromEnvironment = "METER_KEY_SECRETS"),
    (name = "HOME", durableObjectNamespace = (className = "MeterHome", serviceName = "objects")),
    (name = "SUB_HOME", durableObjectNamespace = (className = "MeterSubHome", serviceName = "objects")),
  ],
);
