//! What the platform does for the guard: its time, its timers, its randomness, and calls of the homes.

use std::time::Duration;

use js_sys::{Promise, Uint32Array};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;
use worker::{Date, Delay, Env, ObjectNamespace};

use crate::library::Platform;

/// What the homes are bound as.
pub(super) const HOME: &str = "HOME";
const SUB_HOME: &str = "SUB_HOME";

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
pub(super) fn random_words() -> [u32; 4] {
    let words = Uint32Array::new_with_length(4);
    get_random_values(&words);
    [0, 1, 2, 3].map(|place| words.get_index(place))
}

/// The homes' objects, as the request reaches them that came with these bindings.
pub(super) struct Homes {
    env: Env,
}

impl Homes {
    pub(super) fn new(env: Env) -> Self {
        Self { env }
    }

    fn object(&self, binding: &str, name: &str) -> Result<Object, String> {
        let found = |namespace: ObjectNamespace| namespace.id_from_name(name)?.get_stub();
        let stub = self.env.durable_object(binding).and_then(found).map_err(|error| error.to_string())?;
        Ok(stub.into_rpc())
    }
}

/// What an object answers.
async fn text(promise: Result<Promise, JsValue>) -> Result<String, String> {
    let told = |error: JsValue| format!("{error:?}");
    let value = JsFuture::from(promise.map_err(told)?).await.map_err(told)?;
    value.as_string().ok_or_else(|| "the object has not answered with text".to_owned())
}

impl Platform for Homes {
    fn now_ms(&self) -> u64 {
        Date::now().as_millis()
    }

    async fn sleep(&self, ms: u32) {
        Delay::from(Duration::from_millis(ms.into())).await;
    }

    async fn contact(&self, object: &str, home: &str, contact: &str) -> Result<String, String> {
        let binding = if object == home { HOME } else { SUB_HOME };
        text(self.object(binding, object)?.contact(home, contact)).await
    }

    async fn decide(&self, home: &str, ask: &str, call: &str) -> Result<String, String> {
        text(self.object(HOME, home)?.decide(home, ask, call)).await
    }
}
