//! Money: a real `meter serve` with an account at the simulated Stripe, whose clock and network are ours.
//!
//! What follows from one object's state, row by row, and ten thousand shuffled months are told without HTTP
//! in `aggregator/src/payments/tests`; here is what needs sockets, signatures, lost answers and `kill -9`.

mod bills;
mod changes;
mod conformance;
mod contracts;
mod deliveries;
mod library;
mod orders;
mod overdue;
mod parked;
mod plans;
mod postgres;
mod shop;
mod top_ups;
mod turns;
