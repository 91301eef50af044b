//! What the environment may say.

use super::*;

const SECRET: &str = "abababababababababababababababababababababababababababababababab";

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut all = vec![
        ("TELEMETRY_ENDPOINT".to_owned(), "https://meter.example.com/ingest".to_owned()),
        ("TELEMETRY_HMAC_KEY".to_owned(), format!("pvr_plant-7_k1_{SECRET}")),
    ];
    for (name, value) in pairs {
        all.retain(|(known, _)| known != name);
        all.push(((*name).to_owned(), (*value).to_owned()));
    }
    let names = all.clone().into_iter().map(|(name, _)| name);
    Config::read(&|name| all.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()), names)
}

#[test]
fn two_variables_are_enough() {
    let config = read(&[]).unwrap();
    assert_eq!(config.source.as_str(), "plant-7");
    assert_eq!((config.interval_ms, config.listen.to_string().as_str()), (3_600_000, "127.0.0.1:8790"));
    assert_eq!(
        config.endpoint.as_ref().map(ToString::to_string).as_deref(),
        Some("https://meter.example.com")
    );
    assert!(!config.is_air_gap() && read(&[("METER_REPORTER_AIR_GAP", "1")]).unwrap().is_air_gap());
    let forwards =
        read(&[("METER_REPORTER_AIR_GAP", "1"), ("METER_REPORTER_UPSTREAM", "http://127.0.0.1:9")]);
    assert!(forwards.unwrap_err().to_string().starts_with("METER_REPORTER_UPSTREAM: "));
    let gap = read(&[("METER_REPORTER_AIR_GAP", "1"), ("TELEMETRY_ENDPOINT", "")]).unwrap();
    assert!(gap.is_air_gap(), "no address is needed where nothing is sent");
}

#[test]
fn secrets_are_not_shown() {
    let config = read(&[
        ("HTTPS_PROXY", "http://user:hunter2@proxy.internal:3128"),
        ("METER_REPORTER_AGENT_SALT", "hunter2hunter2hunter2"),
    ])
    .unwrap();
    let shown = format!("{config} {config:?}");
    assert!(!shown.contains("abab") && !shown.contains("hunter2"), "{shown}");
    assert!(format!("{config}").contains("HTTPS_PROXY=http://proxy.internal:3128"), "{config}");
    assert!(format!("{config}").contains(" TELEMETRY_HMAC_KEY=plant-7:k1 "), "keys are named: {config}");
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    for (name, value) in [
        ("TELEMETRY_ENDPOINT", "http://meter.example.com"),
        ("TELEMETRY_ENDPOINT", "https://user:hunter2@meter.example.com"),
        ("TELEMETRY_ENDPOINT", ""),
        ("TELEMETRY_HMAC_KEY", "hunter2"),
        ("TELEMETRY_HMAC_KEY", ""),
        ("TELEMETRY_INTERVAL_SECONDS", "59"),
        ("METER_BILL", "answered"),
        ("METER_ROUTES", r#"[{"prefix":"/v1/verify","kind":"verify","bill":"answered"}]"#),
        ("TELEMETRY_INTERVAL_SECONDS", "86401"),
        ("TELEMETRY_INTERVAL_SECONDS", "1h"),
        ("TELEMETRY_INTERVALL", "60"),
        ("METER_REPORTER_LISTEN", "8790"),
        ("METER_REPORTER_LISTEN", "0.0.0.0:8790"),
        ("METER_REPORTER_ENVIRONMENT", "prod"),
        ("METER_REPORTER_AIR_GAP", "yes"),
        ("METER_REPORTER_AGENT_SALT", "hunter2"),
        ("METER_REPORTER_CA_FILE", "/nowhere/ca.pem"),
        ("METER_REPORTER_UPSTREAM", "http://example.com"),
        ("METER_ROUTES", "[]"),
        ("METER_SIGNING_KEYS", "upstream:u1:hunter2"),
        ("HTTPS_PROXY", "socks5://user:hunter2@proxy"),
        ("METER_LOG_FORMAT", "xml"),
        ("METER_SHADOW", "yes"),
        ("METER_METRICS_TOKEN", "hunter2"),
        ("COUNTERS", "redis"),
        ("METER_HOMES", "remote"),
        ("METER_REGION", "weur"),
        ("METER_SUB_HOMES", "8"),
        ("METER_KEY_SECRETS", "1:hunter2"),
        ("UPSTREAM_URL", "https://user:hunter2@governance.example.com"),
    ] {
        let error = read(&[(name, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: ")), "{name}={value}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(read(&[("METER_REPORTER_LISTEN", "0.0.0.0:8790"), ("METER_REPORTER_ALLOW_REMOTE", "1")]).is_ok());
    assert!(read(&[("TELEMETRY_INTERVAL_SECONDS", "1"), ("METER_TEST", "1")]).is_ok());
    let said =
        read(&[("UPSTREAM_URL", "http://127.0.0.1:9"), ("METER_REPORTER_UPSTREAM", "http://127.0.0.1:9")]);
    assert!(said.is_ok() && read(&[("COUNTERS", ""), ("REDIS_URL", "redis://127.0.0.1")]).is_ok());
    assert!(read(&[("METER_SHADOW", "1")]).unwrap().to_string().contains(" METER_SHADOW=1"));
}

#[test]
fn a_client_certificate_needs_its_key() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let error = read(&[("METER_REPORTER_CLIENT_CERT", here)]).unwrap_err().to_string();
    assert!(error.starts_with("METER_REPORTER_CLIENT_KEY: "), "{error}");
    assert!(read(&[("METER_REPORTER_CLIENT_CERT", here), ("METER_REPORTER_CLIENT_KEY", here)]).is_ok());
}

#[test]
fn a_mistyped_variable_is_refused_with_the_one_that_was_meant() {
    for (name, expected) in [
        ("TELEMETRY_ENDPOIN", "did you mean TELEMETRY_ENDPOINT?"),
        ("TELEMETRY_INTERVAL", "did you mean TELEMETRY_INTERVAL_SECONDS?"),
        ("METER_REPORTER_LISTN", "did you mean METER_REPORTER_LISTEN?"),
        ("TELEMETRY_XYZZY_PLUGH", "`meter-reporter --help` lists what is read"),
    ] {
        let error = read(&[(name, "x")]).unwrap_err().to_string();
        assert_eq!(error, format!("{name}: nothing reads it; {expected}"));
    }
    for name in ["METER_LISTEN", "PATH"] {
        assert!(read(&[(name, "x")]).is_ok(), "{name}");
    }
}
