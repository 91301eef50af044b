//! Which pages are followed, what is called otherwise where they are followed, and which lines nobody follows.

/// Pages that are followed one after another at a demo of their own.
#[derive(Debug)]
pub(super) struct Row {
    /// What stands behind `#` is the heading of the part of a page that is followed alone, where other parts are of other
    /// machines.
    pub(super) pages: &'static [&'static str],
    /// More words behind `cargo xtask dev` than the pages have.
    pub(super) dev: &'static [&'static str],
    /// What readers have done before.
    pub(super) before: &'static str,
    /// What of theirs runs beside it.
    pub(super) beside: &'static str,
    /// What is set in each of their terminals.
    pub(super) settings: &'static str,
}

/// A row of pages that say everything themselves.
const PLAIN: Row = Row { pages: &[], dev: &[], before: "", beside: "", settings: "" };

/// All of them.
pub(super) const ROWS: [Row; 12] = [
    Row { pages: &["README.md"], ..PLAIN },
    Row { pages: &["docs/tutorial.md"], ..PLAIN },
    Row {
        pages: &[
            "docs/migrate.md",
            "docs/migrate-from-unkey.md",
            "docs/migrate-from-openmeter.md",
            "docs/protocol.md#Events: `POST /api/v1/cloudevents`",
        ],
        ..PLAIN
    },
    Row {
        pages: &["docs/migrate-from-redis-counters.md"],
        // What they have counted in a Redis of theirs.
        before: "redis-cli set \"quota:acme:$(date -u +%Y-%m)\" 4200; redis-cli set credits:acme 900",
        ..PLAIN
    },
    Row {
        pages: &[
            "docs/operations.md#Settings",
            "docs/operations.md#Rotating keys without a refused request",
            "docs/operations.md#Changing plans",
            "docs/operations.md#Contracts and on-premise reporters",
            "docs/operations.md#Payments",
            "docs/on-premise.md#Sign-off, in an hour",
            "docs/on-premise.md#Without a way out",
            "docs/operations.md#Backup and restore",
            "docs/deploy.md#Secrets first",
            "docs/deploy.md#The first request",
            "docs/deploy.md#Backup, and its drill",
        ],
        before: "mkdir -p etc",
        ..PLAIN
    },
    Row { pages: &["docs/operations.md#Running the edge"], before: "mkdir -p homes-1", ..PLAIN },
    Row { pages: &["docs/operations.md#Homes in a Redis"], dev: &["--counters", "redis"], ..PLAIN },
    Row {
        pages: &["docs/operations.md#Moving homes there and back"],
        before: "meter project create acme --plan pro",
        ..PLAIN
    },
    Row { pages: &["docs/operations.md#The books on Postgres"], ..PLAIN },
    Row {
        pages: &["docs/deploy.md#Upgrades"],
        // The release of before is in its place.
        before: "mkdir -p backups bin opt/edge && cp target/debug/meter bin/meter && cp -r target/edge/. opt/edge",
        ..PLAIN
    },
    Row {
        pages: &["docs/envoy.md"],
        before: "mkdir -p etc && cp target/dev/env etc/edge.env",
        // Behind Envoy is a service that nobody signs requests for.
        beside: "env --unset METER_SIGNING_KEYS DEMO_UPSTREAM_LISTEN=$HERE_SERVICE demo-upstream",
        settings: "export METER_ENVOY_LISTEN=$HERE_METER_ENVOY METER_ENVOY_METRICS_LISTEN=$HERE_METRICS",
        ..PLAIN
    },
    Row {
        pages: &["docs/on-premise.md#Run it"],
        before: "meter contract create plant --customer Plant --project demo --volume 1000 --tier 80 --minimum 0 --from \"$(date -u +%F)\" \
                   --sla none\n\
                 meter reporter create plant-7 --contract plant --rpm 6000\n\
                 meter reporter key create plant-7 --json | jq -r .key > plant-7.key",
        // What of the demo's settings is the edge's alone is not the reporter's.
        settings: "export METER_REPORTER_LISTEN=$HERE_REPORTER METER_REPORTER_DATA=$PWD/plant-7; \
                   unset METER_KEY_SECRETS UPSTREAM_URL COUNTERS",
        ..PLAIN
    },
];

/// What pages call otherwise than it is called where they are followed: others' addresses, and folders of the whole machine.
/// What comes first is looked for first.
pub(super) const HERE: [(&str, &str); 23] = [
    ("https://edge.example.com", "$EDGE_URL"),
    ("https://meter.example.com", "$AGGREGATOR_URL"),
    ("http://127.0.0.1:8080", "$AGGREGATOR_URL"),
    ("127.0.0.1:8080", "${AGGREGATOR_URL#http://}"),
    ("0.0.0.0:8787", EDGE_LISTEN),
    ("127.0.0.1:8787", EDGE_LISTEN),
    ("127.0.0.1:8788", "$HERE_HOMES"),
    ("127.0.0.1:8090", "${UPSTREAM_URL#http://}"),
    ("127.0.0.1:8790", "$HERE_REPORTER"),
    ("127.0.0.1:10000", "$HERE_ENVOY"),
    ("redis://meter:secret@10.0.0.5:6379/0", "$HERE_REDIS"),
    ("postgres://user:password@host:5432/meter", "$HERE_POSTGRES"),
    ("sqlite://meter.db", "$DATABASE_URL"),
    ("pvr_plant-7_k1_…", "$(cat plant-7.key)"),
    ("/var/lib/palveron-meter", HOMES),
    ("/var/lib/palveron-edge/homes", HOMES),
    ("/var/lib/palveron-edge-1", "$PWD/homes-1"),
    ("/var/backups", "$PWD/backups"),
    ("/etc/palveron", "$PWD/etc"),
    ("/usr/local/bin", "$PWD/bin"),
    ("/opt/palveron", "$PWD/opt"),
    ("target/release/", "target/debug/"),
    ("deploy/envoy/", "envoy/"),
];

/// Where the demo's edge listens, and where its homes are.
pub(super) const EDGE_LISTEN: &str = "${EDGE_URL#http://}";
pub(super) const HOMES: &str = "$PWD/target/dev/homes";

/// Where a meter on premise listens.
pub(super) const REPORTER: &str = "HERE_REPORTER";

/// The variables of [`HERE`] that are addresses made for each row, and which port of Envoy's examples they stand for.
pub(super) const MADE: [(&str, Option<&str>); 6] = [
    ("HERE_SERVICE", Some("8090")),
    ("HERE_HOMES", None),
    (REPORTER, None),
    ("HERE_ENVOY", Some("10000")),
    ("HERE_METER_ENVOY", Some("8081")),
    ("HERE_METRICS", None),
];

/// What a unit of systemd runs, by its name in lines of `systemctl`.
pub(super) const UNITS: [(&str, &str); 2] = [
    ("palveron-meter", "meter serve"),
    (
        "palveron-edge",
        "workerd serve /opt/palveron/edge/workerd.capnp --socket-addr edge=127.0.0.1:8787 \
         --external-addr aggregator=127.0.0.1:8080 --external-addr upstream=127.0.0.1:8090 \
         --directory-path homes=/var/lib/palveron-edge/homes",
    ),
];

/// Blocks that nobody follows: their page, words that they have, and why. The first words of each reason say who looks
/// instead. All of them are read by the tests of what is documented: each command takes its options.
pub(super) const NOT_RUN: [(&str, &str, &str); 8] = [
    (
        "docs/deploy.md",
        "sudo systemctl daemon-reload",
        "integrations::deploy: it builds a release and installs it on the whole machine. The units are read by systemd, and \
         what they start is started as they say",
    ),
    (
        "docs/deploy.md",
        "docker compose exec",
        "integrations::images: it needs a container engine. Both images are built and run as the file says",
    ),
    ("docs/deploy.md", "docker compose --profile redis", "integrations::deploy: it needs a container engine"),
    (
        "docs/deploy.md",
        "kubectl apply",
        "integrations::deploy: it needs a cluster. What is applied is judged by Kubernetes' schemas",
    ),
    (
        "docs/deploy.md",
        "helm install",
        "integrations::deploy: it needs a cluster. What Helm makes of the chart is judged by Kubernetes' schemas",
    ),
    (
        "docs/deploy.md",
        "sudo systemd-run",
        "integrations::deploy: it needs systemd as the machine's first process",
    ),
    (
        "docs/operations.md",
        "wrangler deploy",
        "`cargo xtask wrangler`: it needs an account at Cloudflare. Wrangler takes both workers in a dry run and serves them",
    ),
    (
        "docs/migrate.md",
        "meter correct",
        "the aggregator's suite: a month is corrected once it is closed, which takes 72 hours",
    ),
];
