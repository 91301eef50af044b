//! The same texts as serde_json, read and written, and broken ones near them.

use serde::{Deserialize, Serialize};

use super::{Error, Read, Reader, Write, read, write};
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

/// Both libraries read `text` alike, and write alike what they have read.
fn alike<T>(text: &str)
where
    T: Read + Write + Serialize + for<'a> Deserialize<'a> + PartialEq + std::fmt::Debug,
{
    let theirs = serde_json::from_str::<T>(text).ok();
    let ours = read::<T>(text).ok();
    assert_eq!(ours, theirs, "{text}");
    if let Some(ours) = ours {
        assert_eq!(write(&ours), serde_json::to_string(&ours).unwrap());
    }
}

/// The text itself is read, and every text near it as the other library would.
pub(crate) fn near<T>(text: &str)
where
    T: Read + Write + Serialize + for<'a> Deserialize<'a> + PartialEq + std::fmt::Debug,
{
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
    alike::<T>(text);
    let mut random = Stream::new(7);
    let mut pick =
        |below: usize| usize::try_from(random.between(0, u64::try_from(below).unwrap() - 1)).unwrap();
    for _ in 0..4_000 {
        let (from, length) = (pick(text.len()), pick(4));
        let to = (from + length).min(text.len());
        if let (Some(before), Some(after)) = (text.get(..from), text.get(to..)) {
            alike::<T>(&[before, PIECES[pick(PIECES.len())], after].concat());
        }
    }
}

#[test]
fn messages_and_rows_are_read_and_written_as_serde_json_does() {
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

/// A value of any type, as it is written.
struct Any(String);

impl Read for Any {
    fn blank() -> Self {
        Self(String::new())
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.0 = reader.written()?.to_owned();
        Ok(())
    }
}

#[test]
fn only_what_is_json_is_json() {
    let good = [
        "0",
        "-1",
        "12.5e-3",
        "1E+2",
        "\"\"",
        "\" \\/\\b\\f\\n\\r\\t\\\"\\\\\\u0041\"",
        "[]",
        "[1, [2] ]",
        "{}",
        " {\"a\" : {\"b\":[true,false,null]}} ",
        "\"\u{7f}ä\"",
    ];
    let bad = [
        "",
        " ",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "nul",
        "truex",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u00g0\"",
        "\"\\u+041\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\n\"",
        "[",
        "[1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "1 1",
        "]",
        "}",
        "//",
        "NaN",
    ];
    for text in good {
        assert_eq!(read::<Any>(text).map(|Any(written)| written).as_deref(), Ok(text.trim()));
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{text}");
    }
    for text in bad {
        assert!(read::<Any>(text).is_err(), "{text}");
    }
    assert!(read::<Any>(&"[".repeat(100_000)).is_err());
    assert_eq!(read::<String>("\"\\ud83d\\ude00\\u00e4\"").unwrap(), "😀ä");
}

#[test]
fn an_error_says_what_is_wrong() {
    let told = |text: &str| read::<Policy>(text).unwrap_err().to_string();
    assert_eq!(told("{\n x}"), "line 2, byte 3: this is not JSON");
    assert_eq!(told("{}"), "project is missing");
    assert_eq!(
        told(&POLICY.replace("\"rpm\":60", "\"rpm\":\"60\"")),
        "a value is of another type than accepted"
    );
    assert_eq!(
        told(&POLICY.replace("\"demo\"", "\"De mo\"")),
        "project: got \"De mo\", accepted is 1 to 48 of a-z, 0-9 and inner hyphens"
    );
}
