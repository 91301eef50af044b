//! The reporter on premise, as real processes.

mod contract;
mod counts;
mod customer;
mod decisions;
mod glass;
mod namespaces;
mod network;
mod others;
mod sending;
mod together;

use anyhow::Result;
use tests::books::Books;
use tests::on_premise::{OnPremise, key};

/// Books and a reporter of theirs, which runs and has been heard.
async fn both() -> Result<(Books, OnPremise)> {
    let books = Books::start(&key("k1", "ab")).await?;
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?;
    reporter.start().await?;
    reporter.is_heard().await?;
    Ok((books, reporter))
}
