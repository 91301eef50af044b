//! The one thing of the platform that Rust calls by itself: a Durable Object's SQL, as `objects.js` hands it over.
//!
//! Everything else of the platform is `entry.js`'s. Nothing here may decide anything.

use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// `ctx.storage.sql` of a Durable Object, with texts for rows.
    #[derive(Debug)]
    pub type Sql;

    /// What JavaScript throws.
    #[derive(Debug)]
    type Thrown;

    #[wasm_bindgen(method, catch)]
    fn exec(this: &Sql, statement: &str, values: Vec<String>) -> Result<Vec<String>, Thrown>;

    #[wasm_bindgen(method, getter)]
    fn message(this: &Thrown) -> Option<String>;
}

impl Sql {
    /// Runs a statement with its parameters; answers the texts of its rows, row by row.
    pub(crate) fn run(&self, statement: &str, values: Vec<String>) -> Result<Vec<String>, String> {
        self.exec(statement, values)
            .map_err(|thrown| thrown.message().unwrap_or("an unknown error".to_owned()))
    }
}
