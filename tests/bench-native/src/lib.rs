//! The holder's decision beside other limiters, measured in one run. See `benches/decide.rs`.
