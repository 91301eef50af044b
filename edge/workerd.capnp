# How workerd runs the metering worker and the homes beside it, on a developer's machine, in tests and on premises.
#
#   workerd serve workerd.capnp
#     --socket-addr edge=127.0.0.1:8787          where clients connect
#     --external-addr aggregator=127.0.0.1:8080  where cells are flushed to
#     --external-addr upstream=127.0.0.1:8090    where allowed requests are forwarded to
#     --external-addr center=127.0.0.1:8788      where the homes are, with METER_HOMES=remote
#     --directory-path homes=/var/lib/meter      where the homes keep their rows
#
# Secrets come from the environment: METER_KEY_SECRETS, METER_SIGNING_KEYS.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "meter", worker = .meter),
    (name = "objects", worker = .homes),
    (name = "homes", disk = (path = "homes", writable = true)),
    (name = "aggregator", external = (address = "127.0.0.1:8080", http = ())),
    (name = "upstream", external = (address = "127.0.0.1:8090", http = ())),
    (name = "center", external = (address = "127.0.0.1:8788", http = ())),
    (name = "network", network = .network),
  ],
  sockets = [(name = "edge", address = "127.0.0.1:8787", http = (), service = "meter")],
);

# The Redis of REDIS_URL and the collector of OTEL_EXPORTER_OTLP_ENDPOINT may be on this machine or in a private network;
# nothing else is reached by this.
const network :Workerd.Network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true));

# Decides; a new isolate loads this and nothing else.
const meter :Workerd.Worker = (
  compatibilityDate = "2026-10-01",
  modules = [
    (name = "entry.js", esModule = embed "entry.js"),
    (name = "again.js", esModule = embed "again.js"),
    (name = "answer.js", esModule = embed "answer.js"),
    (name = "metrics.js", esModule = embed "metrics.js"),
    (name = "platform.js", esModule = embed "platform.js"),
    (name = "reach.js", esModule = embed "reach.js"),
    (name = "redis.js", esModule = embed "redis.js"),
    (name = "service.js", esModule = embed "service.js"),
    (name = "testing.js", esModule = embed "testing.js"),
    (name = "traces.js", esModule = embed "traces.js"),
    (name = "meter.js", esModule = embed "meter.js"),
    (name = "meter_bg.wasm", wasm = embed "meter_bg.wasm"),
  ],
  bindings = [
    (name = "COUNTERS", fromEnvironment = "COUNTERS"),
    (name = "REDIS_URL", fromEnvironment = "REDIS_URL"),
    (name = "REDIS_REPLICAS", fromEnvironment = "REDIS_REPLICAS"),
    (name = "REDIS_ACCEPT_LOSS", fromEnvironment = "REDIS_ACCEPT_LOSS"),
    (name = "METER_KEY_SECRETS", fromEnvironment = "METER_KEY_SECRETS"),
    (name = "METER_SIGNING_KEYS", fromEnvironment = "METER_SIGNING_KEYS"),
    (name = "METER_ROUTES", fromEnvironment = "METER_ROUTES"),
    (name = "METER_BILL", fromEnvironment = "METER_BILL"),
    (name = "METER_HOMES", fromEnvironment = "METER_HOMES"),
    (name = "METER_METRICS_TOKEN", fromEnvironment = "METER_METRICS_TOKEN"),
    (name = "METER_REGION", fromEnvironment = "METER_REGION"),
    (name = "METER_SHADOW", fromEnvironment = "METER_SHADOW"),
    (name = "METER_SUB_HOMES", fromEnvironment = "METER_SUB_HOMES"),
    (name = "METER_TEST", fromEnvironment = "METER_TEST"),
    (name = "METER_TEST_HOME_DELAY_MS", fromEnvironment = "METER_TEST_HOME_DELAY_MS"),
    (name = "OTEL_BSP_SCHEDULE_DELAY", fromEnvironment = "OTEL_BSP_SCHEDULE_DELAY"),
    (name = "OTEL_EXPORTER_OTLP_ENDPOINT", fromEnvironment = "OTEL_EXPORTER_OTLP_ENDPOINT"),
    (name = "OTEL_EXPORTER_OTLP_HEADERS", fromEnvironment = "OTEL_EXPORTER_OTLP_HEADERS"),
    (name = "OTEL_SERVICE_NAME", fromEnvironment = "OTEL_SERVICE_NAME"),
    (name = "OTEL_TRACES_SAMPLER", fromEnvironment = "OTEL_TRACES_SAMPLER"),
    (name = "OTEL_TRACES_SAMPLER_ARG", fromEnvironment = "OTEL_TRACES_SAMPLER_ARG"),
    (name = "UPSTREAM", service = "upstream"),
    (name = "HOMES", service = "objects"),
    (name = "CENTER", service = "center"),
    (name = "REDIS", service = "network"),
    (name = "COLLECTOR", service = "network"),
    (name = "HOME", durableObjectNamespace = (className = "MeterHome", serviceName = "objects")),
    (name = "SUB_HOME", durableObjectNamespace = (className = "MeterSubHome", serviceName = "objects")),
  ],
);

# Holds what must be durable, one object for each project and mode.
const homes :Workerd.Worker = (
  compatibilityDate = "2026-10-01",
  modules = [
    (name = "entry.js", esModule = embed "homes/entry.js"),
    (name = "commit.js", esModule = embed "homes/commit.js"),
    (name = "home.js", esModule = embed "homes/home.js"),
    (name = "objects.js", esModule = embed "homes/objects.js"),
    (name = "platform.js", esModule = embed "homes/platform.js"),
    (name = "sub_home.js", esModule = embed "homes/sub_home.js"),
    (name = "traces.js", esModule = embed "homes/traces.js"),
    (name = "meter.js", esModule = embed "homes/meter.js"),
    (name = "meter_bg.wasm", wasm = embed "homes/meter_bg.wasm"),
  ],
  bindings = [
    (name = "METER_SIGNING_KEYS", fromEnvironment = "METER_SIGNING_KEYS"),
    (name = "METER_TEST", fromEnvironment = "METER_TEST"),
    (name = "METER_TEST_HOME_DELAY_MS", fromEnvironment = "METER_TEST_HOME_DELAY_MS"),
    (name = "METER_TEST_HOME_WRITE_MS", fromEnvironment = "METER_TEST_HOME_WRITE_MS"),
    (name = "OTEL_BSP_SCHEDULE_DELAY", fromEnvironment = "OTEL_BSP_SCHEDULE_DELAY"),
    (name = "OTEL_EXPORTER_OTLP_ENDPOINT", fromEnvironment = "OTEL_EXPORTER_OTLP_ENDPOINT"),
    (name = "OTEL_EXPORTER_OTLP_HEADERS", fromEnvironment = "OTEL_EXPORTER_OTLP_HEADERS"),
    (name = "OTEL_SERVICE_NAME", fromEnvironment = "OTEL_SERVICE_NAME"),
    (name = "OTEL_TRACES_SAMPLER", fromEnvironment = "OTEL_TRACES_SAMPLER"),
    (name = "OTEL_TRACES_SAMPLER_ARG", fromEnvironment = "OTEL_TRACES_SAMPLER_ARG"),
    (name = "AGGREGATOR", service = "aggregator"),
    (name = "COLLECTOR", service = "network"),
    (name = "HOME", durableObjectNamespace = "MeterHome"),
    (name = "SUB_HOME", durableObjectNamespace = "MeterSubHome"),
  ],
  durableObjectNamespaces = [
    (className = "MeterHome", uniqueKey = "palveron-meter-home", enableSql = true),
    (className = "MeterSubHome", uniqueKey = "palveron-meter-sub-home", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "homes"),
);
