//! The worker as a program: what its library gets instead of a standard library.
//!
//! That is an allocator, and what a panic does. Nothing here decides anything. On other platforms it is empty, so
//! that everything in the workspace compiles everywhere.

#![cfg_attr(target_arch = "wasm32", no_std)]

// What it exports is all that the worker is.
use meter_edge as _;

#[cfg(target_arch = "wasm32")]
mod program {
    use core::panic::PanicInfo;

    use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

    #[global_allocator]
    static MEMORY: WasmDynamicTalc = new_wasm_dynamic_allocator();

    /// Ends the instance; `platform.js` notices and starts another.
    #[panic_handler]
    fn panic(_: &PanicInfo<'_>) -> ! {
        core::arch::wasm32::unreachable()
    }
}
