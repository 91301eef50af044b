# Our worker exactly as its bundle defines it, beside the real aggregator. Only its upstream is another: the
# baselines' worker inside this process, so that all variants that forward pay the same for it.
#
# The benchmark copies the bundle to edge/.

using Workerd = import "/workerd/workerd.capnp";
using Edge = import "edge/workerd.capnp";
using Baselines = import "baselines.capnp";

const meter :Workerd.Config = (
  services = [
    (name = "meter", worker = Edge.meter),
    (name = "objects", worker = Edge.homes),
    (name = "homes", disk = (path = "homes", writable = true)),
    (name = "aggregator", external = (address = "127.0.0.1:8080", http = ())),
    (name = "upstream", worker = Baselines.upstream),
    (name = "center", external = (address = "127.0.0.1:8788", http = ())),
    (name = "network", network = Edge.network),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "meter")],
);
