//! Derives `shared::json::Read` and `shared::json::Write` from what serde's derives are told.
//!
//! A type says once what its JSON is, in serde's own attributes. serde makes a reader of each type from that; these
//! derives make a table and a way to each field, which one reader for all types uses. An attribute that they do not
//! know is an error: they must never read or write a type in another way than serde does.

mod attributes;
mod object;
mod variants;

use proc_macro::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, parse_macro_input};

use attributes::Container;

/// Which of the two traits is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// Derives `shared::json::Read`.
#[proc_macro_derive(Read, attributes(serde))]
pub fn read(input: TokenStream) -> TokenStream {
    derive(&parse_macro_input!(input as DeriveInput), Direction::Read)
}

/// Derives `shared::json::Write`.
#[proc_macro_derive(Write, attributes(serde))]
pub fn write(input: TokenStream) -> TokenStream {
    derive(&parse_macro_input!(input as DeriveInput), Direction::Write)
}

fn derive(input: &DeriveInput, direction: Direction) -> TokenStream {
    let made = Container::of(&input.attrs).and_then(|container| match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => object::derive(input, &container, fields, direction),
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Ok(newtype(input, direction)),
            Fields::Unnamed(_) | Fields::Unit => {
                Err(Error::new_spanned(input, "accepted are named fields, or one without a name"))
            }
        },
        Data::Enum(data) => variants::derive(input, &container, data, direction),
        Data::Union(_) => Err(Error::new_spanned(input, "accepted are structs and enums")),
    });
    made.unwrap_or_else(|error| error.to_compile_error()).into()
}

/// A type around one other is written as that one.
fn newtype(input: &DeriveInput, direction: Direction) -> proc_macro2::TokenStream {
    let name = &input.ident;
    match direction {
        Direction::Read => quote! {
            impl ::shared::json::Read for #name {
                fn blank() -> Self { Self(::shared::json::Read::blank()) }
                fn read(&mut self, reader: &mut ::shared::json::Reader<'_>) -> Result<(), ::shared::json::Error> {
                    ::shared::json::Read::read(&mut self.0, reader)
                }
            }
        },
        Direction::Write => quote! {
            impl ::shared::json::Write for #name {
                fn write(&self, writer: &mut ::shared::json::Writer) {
                    ::shared::json::Write::write(&self.0, writer);
                }
            }
        },
    }
}
