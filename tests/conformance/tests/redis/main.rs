//! The suite on a real Redis.

#[cfg(test)]
mod rows;
