# Your worker beside the meter in one workerd, bound by `METER`. After `cargo xtask edge`:
#
#   workerd serve --import-path=target examples/service-binding/example.capnp \
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
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  bindings = [(name = "METER", service = (name = "meter", entrypoint = "Meter"))],
);
