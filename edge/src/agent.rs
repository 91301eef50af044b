//! The one way in which clients name agents: by headers, addresses and bodies alike.

use shared::ids::{AgentId, IdError};

/// The agent of that name. A letter and its accent are one sign or two, encoded or not, and the same agent.
pub(crate) fn of_client(text: &str) -> Result<AgentId, IdError> {
    if !text.is_ascii() {
        return AgentId::from_client(&composed(text));
    }
    match decoded(text) {
        Some(name) => AgentId::from_client(&encoded(&composed(&name))),
        None => AgentId::from_client(text),
    }
}

/// A name that is encoded already, with its signs that are not ASCII; `None` where it has none. All others stay as they
/// are: an encoded percent sign begins nothing.
fn decoded(text: &str) -> Option<String> {
    if !text.contains('%') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend(before.bytes());
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = byte.filter(|byte| !byte.is_ascii()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(b'%');
            rest = after;
        }
    }
    bytes.extend(rest.bytes());
    String::from_utf8(bytes).ok().filter(|name| !name.is_ascii())
}

/// The same the other way round.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii() { text.push(char::from(byte)) } else { text.push_str(&format!("%{byte:02X}")) }
    }
    text
}

/// The text in NFC. The platform has the tables; they are larger than the worker.
#[cfg(target_family = "wasm")]
fn composed(text: &str) -> String {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = ["String", "prototype", "normalize"], js_name = call)]
        fn normalize(text: &str, form: &str) -> String;
    }

    normalize(text, "NFC")
}

/// The same where there is no such platform.
#[cfg(not(target_family = "wasm"))]
fn composed(text: &str) -> String {
    unicode_normalization::UnicodeNormalization::nfc(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_two_parts_is_the_same_agent_as_in_one() {
        for (text, id) in [
            ("cafe", "cafe"),
            ("café", "caf%C3%A9"),
            ("cafe\u{301}", "caf%C3%A9"),
            ("\u{212b}ngstro\u{308}m", "%C3%85ngstr%C3%B6m"),
            ("cafe%CC%81", "caf%C3%A9"),
            ("caf%c3%a9", "caf%C3%A9"),
            ("50%25%CC", "50%25%CC"),
            ("a%20cafe%CC%81%", "a%20caf%C3%A9%"),
            ("+%C", "+%C"),
            ("%+5caf%C3%A9", "%+5caf%C3%A9"),
            ("\u{1112}\u{1161}\u{11ab}", "%ED%95%9C"),
        ] {
            assert_eq!(of_client(text).unwrap().as_str(), id, "{text}");
        }
        assert!(of_client("~none").is_err());
    }
}
