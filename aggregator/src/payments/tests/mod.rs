//! What follows from what Stripe shows, row by row, and whatever the order it comes in.

mod changes;
mod months;
mod rows;
mod shop;
mod top_ups;
