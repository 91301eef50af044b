//! The one way in which clients name agents: by headers, addresses and bodies alike.

use shared::ids::{AgentId, IdError};

/// The agent of that name. A letter and its accent are one sign or two, and the same agent.
pub(crate) fn of_client(text: &str) -> Result<AgentId, IdError> {
    if text.is_ascii() { AgentId::from_client(text) } else { AgentId::from_client(&composed(text)) }
}

/// The text in NFC. The platform has the tables; they are larger than the worker.
#[cfg(target_family = "wasm")]
fn composed(text: &str) -> alloc::string::String {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = ["String", "prototype", "normalize"], js_name = call)]
        fn normalize(text: &str, form: &str) -> alloc::string::String;
    }

    normalize(text, "NFC")
}

/// The same where there is no such platform.
#[cfg(not(target_family = "wasm"))]
fn composed(text: &str) -> alloc::string::String {
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
            ("\u{1112}\u{1161}\u{11ab}", "%ED%95%9C"),
        ] {
            assert_eq!(of_client(text).unwrap().as_str(), id, "{text}");
        }
        assert!(of_client("~none").is_err());
    }
}
