//! What the meter must show on real parts, from outside: over HTTP, with the `meter` command, with `kill -9`.

#[cfg(test)]
mod edge;
#[cfg(test)]
mod envoy;
#[cfg(test)]
mod http;
#[cfg(test)]
mod integrations;
#[cfg(test)]
mod reporter;
#[cfg(test)]
mod store;
