//! What every worker of the meter has instead of a standard library: [`State`] that outlives a call, and with
//! [`program!`] an allocator and what a panic does.
//!
//! Nothing here decides anything.

#![no_std]

mod state;

use core::sync::atomic::{AtomicU32, Ordering};

pub use state::State;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use talc;
use wasm_bindgen::prelude::wasm_bindgen;

/// The bits of some random words, the first word's highest; of more than four the last four.
#[must_use]
pub fn bits(words: &[u32]) -> u128 {
    words.iter().fold(0, |bits, word| (bits << 32) | u128::from(*word))
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

/// Makes a crate the program of a worker.
///
/// It gets an allocator, and a panic ends its instance, which `platform.js` notices to start another. On other platforms
/// this is empty, so that everything in the workspace compiles everywhere.
#[macro_export]
macro_rules! program {
    () => {
        #[cfg(target_arch = "wasm32")]
        mod program {
            use $crate::talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

            #[global_allocator]
            static MEMORY: WasmDynamicTalc = new_wasm_dynamic_allocator();

            #[panic_handler]
            fn panic(_: &::core::panic::PanicInfo<'_>) -> ! {
                ::core::arch::wasm32::unreachable()
            }
        }
    };
}
