//! What a panic leaves in the log before it ends its instance, and the ends that tests ask for.
//!
//! Both workers have this file as a module of theirs. It must never decide anything.

use std::sync::atomic::{AtomicU32, Ordering};

use wasm_bindgen::prelude::wasm_bindgen;

#[cfg(target_family = "wasm")]
#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn log_error(line: &str);
}

/// Has every panic say in the log what it is and where. The trap that follows it tells JavaScript only that there was one.
///
/// A worker of somebody's own has its own way to log, so that the library never calls this.
pub(crate) fn log_them() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| log_error(&line(&panic.to_string()))));
}

/// A line of the log as `platform.js` writes them.
#[cfg(any(target_family = "wasm", test))]
fn line(panic: &str) -> String {
    #[derive(Debug, serde::Serialize)]
    struct Line<'a> {
        message: &'a str,
        error: &'a str,
    }
    shared::json::write(&Line { message: "Rust panicked", error: panic })
}

/// Panics, for the tests of what a panic may do. Scripts call it with METER_TEST=1 only.
#[expect(clippy::panic, reason = "it is what this is for")]
#[wasm_bindgen(js_name = panicForTest)]
pub fn panic_for_test() {
    panic!("a test asked for it");
}

/// Overflows the platform's stack, for the tests of traps that are no panic. Scripts call it with METER_TEST=1 only.
#[wasm_bindgen(js_name = overflowForTest)]
#[must_use]
pub fn overflow_for_test() -> u32 {
    DEPTH.store(0, Ordering::Relaxed);
    deeper()
}

/// How often it has called itself. It is read after each call, so that no compiler makes a loop of the calls.
static DEPTH: AtomicU32 = AtomicU32::new(0);

#[inline(never)]
fn deeper() -> u32 {
    if DEPTH.fetch_add(1, Ordering::Relaxed) == u32::MAX {
        return 0;
    }
    deeper().rotate_left(1) ^ DEPTH.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_one_line_of_the_log() {
        let line = line("panicked at edge/src/lib.rs:1:2:\n\"why\"");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["message"], "Rust panicked");
        assert_eq!(read["error"], "panicked at edge/src/lib.rs:1:2:\n\"why\"");
        assert!(!line.contains('\n'));
    }
}
