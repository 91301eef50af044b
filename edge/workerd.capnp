# How workerd runs the metering worker, on a developer's machine, in tests and on premises.
#
#   workerd serve workerd.capnp
#     --socket-addr edge=127.0.0.1:8787          where clients connect
#     --external-addr aggregator=127.0.0.1:8080  where cells are flushed to
#     --external-addr upstream=127.0.0.1:8090    where allowed requests are forwarded to
#     --directory-path homes=/var/lib/meter      where the homes keep their rows
#
# Secrets come from the environment: METER_KEY_SECRETS, METER_SIGNING_KEYS.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "meter", worker = .meter),
    (name = "homes", disk = (path = "homes", writable = true)),
    (name = "aggregator", external = (address = "127.0.0.1:8080", http = ())),
    (name = "upstream", external = (address = "127.0.0.1:8090", http = ())),
  ],
  sockets = [(name = "edge", address = "127.0.0.1:8787", http = (), service = "meter")],
);

const meter :Workerd.Worker = (
  compatibilityDate = "2026-10-01",
  modules = [
    (name = "entry.js", esModule = embed "entry.js"),
    (name = "meter.js", esModule = embed "meter.js"),
    (name = "meter_bg.wasm", wasm = embed "meter_bg.wasm"),
  ],
  bindings = [
    (name = "METER_KEY_SECRETS", fromEnvironment = "METER_KEY_SECRETS"),
    (name = "METER_SIGNING_KEYS", fromEnvironment = "METER_SIGNING_KEYS"),
    (name = "METER_ROUTES", fromEnvironment = "METER_ROUTES"),
    (name = "METER_TEST_HOME_DELAY_MS", fromEnvironment = "METER_TEST_HOME_DELAY_MS"),
    (name = "AGGREGATOR", service = "aggregator"),
    (name = "UPSTREAM", service = "upstream"),
    (name = "HOME", durableObjectNamespace = "MeterHome"),
  ],
  durableObjectNamespaces = [(className = "MeterHome", uniqueKey = "palveron-meter-home", enableSql = true)],
  durableObjectStorage = (localDisk = "homes"),
);
