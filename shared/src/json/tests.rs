//! Messages as other releases write them, and broken ones near them.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{read, write};
use crate::decision::{Ask, Verdict};
use crate::kind::Route;
use crate::lease::message::{Contact, Reply};
use crate::moved::Moved;
use crate::policy::{Policy, SignedPolicy};
use crate::problem::Problem;
use crate::random::Stream;
use crate::wire::{Flush, FlushAck};

const CONTACT: &str = r#"{"holder":"000102030405060708090a0b0c0d0e0f","child":false,"lane":1,"nonce":7,
    "incarnation":"0123456789","batch":{"seq":3,"lines":[{"day":"2026-11-23","kind":"verify","agent":"gr%C3%B6\"\\","units":12}],
    "open":{"2026-11":5}},"returns":{"units":{"2026-11":9},"permits":{"29889120":4},
    "agents":[{"period":"2026-11","agent":"bot","units":1}]},"needs":[{"cost":1,"count":2},{"agent":"b","cost":3,"count":1}],
    "renew":true,"first":false,"rate":12000,"held":{"units":1,"permits":2,"next":0},"stranded":0,"terms":4,"later":[1.5e3,null]}"#;

const REPLY: &str = r#"{"holder":"000102030405060708090a0b0c0d0e0f","lane":0,"nonce":7,"body":{"lease":{
    "incarnation":"0123456789","written":1795435200000,"now":1795435200000,"now_slack_ms":0,"period":"2026-11","units":40,
    "valid_ms":600000,"minute":29923920,"permits":40,"minute_ms":60000,
    "next":{"minute":29923921,"count":5,"from_ms":1,"until_ms":2},"agents":[{"agent":"a","units":0}],"fresh_ms":10000,
    "refusals":[{"denial":"rate_limited","cost":1,"for_ms":10}],"hold_ms":0,"report_ms":500,"lanes":2,"idle_ms":2000,
    "recall":false,"ample":true,"open":false,"allowance":1000,"left":5,"permits_left":6,"risk":20,"ack":3,
    "terms":{"version":4,"status":"active","plan":"pro","keys":["k001"],"rpm":60,"agents_max":null,
    "upgrade_url":"https://palveron.com/pricing?a=\u00e4\ud83d\ude00\n","strict":false,"agents_limited":false,"capped":[],"sub_homes":0}}}}"#;

const POLICY: &str = r#"{"project":"demo","version":1,"plan":"community","status":"active","allowance":{"period":"2026-11",
    "included":1000,"lots":0,"credits":0,"next_included":1000,"overage":{"rule":"capped","units":7}},"rpm":60,"agents_max":5,
    "keys":["k001"],"upgrade_url":"https://palveron.com/pricing","leases":{"strict":true,"agents":{"bot":10},"escrow":null}}"#;

const FLUSH: &str = r#"{"project":"demo","mode":"live","source":"home","incarnation":"0123456789","seq":17,
    "cells":[{"day":"2026-11-23","kind":"verify","agent":"bot","units":412,"tokens_in":0,"tokens_out":1,"anchors":0}],
    "exhausted":["2026-11"]}"#;

const VERDICT: &str = r#"{"denial":"quota_exhausted","numbers":{"now":1795435200000,"period":"2026-11","plan":"pro","included":1000,
    "allowance":null,"used":17,"rpm":60,"rpm_remaining":3,"agents_max":5,"upgrade_url":"https://palveron.com/pricing"}}"#;

/// What is read of a text is written so that it reads back the same.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) {
    if let Ok(value) = read::<T>(text) {
        assert_eq!(read::<T>(&write(&value)).unwrap(), value, "{text}");
    }
}

/// The text itself is read, and it and every text near it that is read, too, come back.
pub(crate) fn near<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) {
    const PIECES: [&str; 20] = [
        "",
        "\"",
        "\\",
        "\\u00e4",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "0",
        "-",
        "1.0",
        "1e3",
        "null",
        "true",
        " ",
        "x",
        "{\"a\":1},",
        "ä",
    ];
    read::<T>(text).unwrap();
    comes_back::<T>(text);
    let mut random = Stream::new(7);
    let mut pick =
        |below: usize| usize::try_from(random.between(0, u64::try_from(below).unwrap() - 1)).unwrap();
    for _ in 0..4_000 {
        let (from, length) = (pick(text.len()), pick(4));
        let to = (from + length).min(text.len());
        if let (Some(before), Some(after)) = (text.get(..from), text.get(to..)) {
            comes_back::<T>(&[before, PIECES[pick(PIECES.len())], after].concat());
        }
    }
}

#[test]
fn what_is_read_of_messages_is_written_back() {
    near::<Contact>(CONTACT);
    near::<Reply>(REPLY);
    near::<Policy>(POLICY);
    near::<Flush>(FLUSH);
    near::<Ask>(
        r#"{"key":"k001","kind":"mcp_tool_call","agent":"~none","cost":3,"dry_run":true,"held":false}"#,
    );
    near::<Verdict>(VERDICT);
    near::<SignedPolicy>(r#"{"document":"{\"a\":1}","k":"p1","v1":"00ff"}"#);
    near::<FlushAck>(
        r#"{"watermark":3,"policy":{"document":"{}","k":"p1","v1":"00"},"merged":[{"period":"2026-11","units":4,"lives":1,
        "agents":{"bot":3,"a/b":1}},{"period":"2026-12","units":0,"lives":0}]}"#,
    );
    near::<Moved>(r#"{"offset_ms":5}"#);
    near::<Vec<Route>>(
        r#"[{"prefix":"/v1","kind":"verify"},{"prefix":"/v2","kind":"verify","bill":"answered"}]"#,
    );
    near::<Problem>(
        r#"{"type":"https://docs","title":"t","status":402,"code":"quota_exhausted","detail":"d","resets_at":"2026-12-01T00:00:00Z"}"#,
    );
    near::<Reply>(
        r#"{"holder":"000102030405060708090a0b0c0d0e0f","lane":0,"nonce":1,"body":{"shed":{"hold_ms":5}}}"#,
    );
    near::<Reply>(
        r#"{"holder":"000102030405060708090a0b0c0d0e0f","lane":0,"nonce":1,"body":{"resync":{"incarnation":"0123456789"}}}"#,
    );
}

/// Texts that are nearly a policy, and none.
#[test]
fn what_nearly_is_a_message_is_refused() {
    let but = |from: &str, to: &str| {
        assert!(POLICY.contains(from), "{from}");
        read::<Policy>(&POLICY.replace(from, to)).map_err(|error| error.to_string())
    };
    assert!(but("\"rpm\":60", "\"rpm\": 60 ").is_ok());
    for (from, to, why) in [
        ("\"rpm\":60", "\"rpm\":60.0", "floating point"),
        ("\"rpm\":60", "\"rpm\":6e1", "floating point"),
        ("\"rpm\":60", "\"rpm\":-1", "-1"),
        ("\"rpm\":60", "\"rpm\":\"60\"", "string"),
        ("\"rpm\":60", "\"rpm\":4294967296", "4294967296"),
        ("\"rpm\":60", "\"rpm\":060", "number"),
        ("\"rpm\":60", "\"rpm\":60,\"rpm\":60", "duplicate field `rpm`"),
        ("\"rpm\":60,", "", "missing field `rpm`"),
        ("\"rpm\":60", "\"rpm\":60,", "key must be a string"),
        ("\"plan\":\"community\"", "\"plan\":\"\\ud800\"", ""),
        ("\"demo\"", "\"De mo\"", "project: got \"De mo\", accepted is 1 to 48"),
        ("\"rule\":\"capped\"", "\"rule\":\"other\"", "unknown variant `other`"),
    ] {
        let error = but(from, to).unwrap_err();
        assert!(error.contains(why), "{to}: {error}");
    }
    assert!(read::<Policy>(&format!("{POLICY} x")).is_err());
    let deep = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(read::<Moved>(&deep(100_000)).is_err(), "the stack does not end");
}

#[test]
fn maps_and_sets_are_written_in_order() {
    let text = "{\"watermark\":3,\"policy\":{\"document\":\"{}\",\"k\":\"p1\",\"v1\":\"00\"},\"merged\":[{\"period\":\"2026-11\",\"units\":4,\"lives\":1,\"agents\":{\"b\":1,\"a\":3}}]}";
    let ack: FlushAck = read(text).unwrap();
    assert_eq!(write(&ack), text.replace("\"b\":1,\"a\":3", "\"a\":3,\"b\":1"));
}
