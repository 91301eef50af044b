//! The one thing of the platform that Rust calls by itself: a Durable Object's SQL.
//!
//! Everything else of the platform is `entry.js`'s. Nothing here may decide anything.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use js_sys::{Array, Error, JsString};
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    /// `ctx.storage.sql` of a Durable Object.
    #[derive(Debug)]
    pub type Sql;

    #[derive(Debug)]
    type Cursor;

    #[derive(Debug)]
    type Rows;

    #[wasm_bindgen(method, catch, variadic)]
    fn exec(this: &Sql, statement: &str, values: &Array) -> Result<Cursor, JsValue>;

    #[wasm_bindgen(method)]
    fn raw(this: &Cursor) -> Rows;

    #[wasm_bindgen(method, catch, js_name = toArray)]
    fn to_array(this: &Rows) -> Result<Array, JsValue>;
}

impl Sql {
    /// Runs a statement with its parameters.
    pub(crate) fn run(&self, statement: &str, values: &[&str]) -> Result<(), String> {
        self.cursor(statement, values).map(|_| ())
    }

    /// Runs a statement that answers two texts in each row.
    pub(crate) fn pairs(&self, statement: &str) -> Result<Vec<(String, String)>, String> {
        let rows = self.cursor(statement, &[])?.raw().to_array().map_err(told)?;
        let pair = |row: JsValue| {
            let row: Array = row.dyn_into().ok()?;
            Some((row.get(0).as_string()?, row.get(1).as_string()?))
        };
        let pairs = rows.iter().map(|row| pair(row).ok_or_else(|| "a row is not of two texts".to_owned()));
        pairs.collect()
    }

    fn cursor(&self, statement: &str, values: &[&str]) -> Result<Cursor, String> {
        let values: Array = values.iter().map(|value| JsString::from(*value)).collect();
        self.exec(statement, &values).map_err(told)
    }
}

/// What a JavaScript error says.
fn told(thrown: JsValue) -> String {
    thrown.dyn_into::<Error>().map_or_else(|_| "an unknown error".to_owned(), |error| error.message().into())
}
