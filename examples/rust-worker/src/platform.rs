//! What the platform does for the meter: its time, its timers, and calls of the homes.

use std::time::Duration;

use js_sys::{Promise, Uint32Array};
use meter_edge::library::Platform;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;
use worker::{Date, Delay, Env};

#[wasm_bindgen]
extern "C" {
    /// A home or sub-home, by its methods.
    type Object;

    #[wasm_bindgen(method, catch)]
    fn contact(this: &Object, home: &str, contact: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn decide(this: &Object, home: &str, ask: &str, call: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(words: &Uint32Array);
}

/// Four words that name this instance.
pub fn random_words() -> [u32; 4] {
    let words = Uint32Array::new_with_length(4);
    get_random_values(&words);
    [0, 1, 2, 3].map(|n| words.get_index(n))
}

/// The platform that the request came by.
pub struct Cloudflare {
    env: Env,
}

impl Cloudflare {
    pub fn new(env: Env) -> Self {
        Self { env }
    }

    fn object(&self, class: &str, name: &str) -> worker::Result<Object> {
        let stub = self.env.durable_object(class)?.id_from_name(name)?.get_stub()?;
        Ok(stub.into_rpc())
    }
}

async fn text(promise: Result<Promise, JsValue>) -> Result<String, String> {
    let told = |error: JsValue| format!("{error:?}");
    let value = JsFuture::from(promise.map_err(told)?).await.map_err(told)?;
    value.as_string().ok_or_else(|| "the object has not answered with text".to_owned())
}

impl Platform for Cloudflare {
    fn now_ms(&self) -> u64 {
        Date::now().as_millis()
    }

    async fn sleep(&self, ms: u32) {
        Delay::from(Duration::from_millis(ms.into())).await;
    }

    async fn contact(&self, object: &str, home: &str, contact: &str) -> Result<String, String> {
        let class = if object == home { "HOME" } else { "SUB_HOME" };
        let object = self.object(class, object).map_err(|error| error.to_string())?;
        text(object.contact(home, contact)).await
    }

    async fn decide(&self, home: &str, ask: &str, call: &str) -> Result<String, String> {
        let object = self.object("HOME", home).map_err(|error| error.to_string())?;
        text(object.decide(home, ask, call)).await
    }
}
