//! Structs with named fields: a table of the fields, and the way to each.

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, quote};
use syn::{DeriveInput, FieldsNamed, Ident, Result, Type};

use crate::Direction;
use crate::attributes::{Container, Field};

/// One field of a struct.
struct Part<'a> {
    name: &'a Ident,
    of: &'a Type,
    told: Field,
}

fn parts(fields: &FieldsNamed) -> Result<Vec<Part<'_>>> {
    let parts = fields.named.iter().filter_map(|field| field.ident.as_ref().map(|name| (name, field)));
    parts.map(|(name, field)| Ok(Part { name, of: &field.ty, told: Field::of(&field.attrs)? })).collect()
}

/// The table's line of a field of that name.
pub(crate) fn line(name: &Ident, of: &Type, told: &Field) -> TokenStream {
    let name = told.rename.clone().unwrap_or_else(|| name.to_string());
    // As serde has it, what may be nothing is nothing where it is missing.
    let optional = told.default || is_option(of);
    let left_out = told.left_out;
    quote! { ::shared::json::Field { name: #name, optional: #optional, left_out: #left_out } }
}

fn is_option(of: &Type) -> bool {
    matches!(of, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}

pub(crate) fn derive(
    input: &DeriveInput,
    container: &Container,
    fields: &FieldsNamed,
    direction: Direction,
) -> Result<TokenStream> {
    let parts = parts(fields)?;
    let name = &input.ident;
    let (generics, of, conditions) = input.generics.split_for_impl();
    let trait_of = match direction {
        Direction::Read => quote! { ::shared::json::Places },
        Direction::Write => quote! { ::shared::json::Parts },
    };
    let table = table(&parts, &trait_of);
    let strict = container.deny_unknown_fields;
    Ok(match direction {
        Direction::Read => {
            let blanks = parts.iter().map(|part| {
                let (name, skip) = (part.name, part.told.skip);
                if skip {
                    quote! { #name: Default::default() }
                } else {
                    quote! { #name: ::shared::json::Read::blank() }
                }
            });
            let ways = ways(&parts, &trait_of, &quote! { place }, &quote! { &mut });
            quote! {
                impl #generics ::shared::json::Read for #name #of #conditions {
                    fn blank() -> Self { Self { #(#blanks),* } }
                    fn read(&mut self, reader: &mut ::shared::json::Reader<'_>) -> Result<(), ::shared::json::Error> {
                        reader.object(<Self as ::shared::json::Places>::FIELDS, #strict, self)
                    }
                }
                impl #generics ::shared::json::Places for #name #of #conditions {
                    const FIELDS: &'static [::shared::json::Field] = #table;
                }
                impl #generics ::shared::json::Place for #name #of #conditions {
                    fn place(&mut self, at: usize) -> &mut dyn ::shared::json::Read { #ways }
                }
            }
        }
        Direction::Write => {
            let ways = ways(&parts, &trait_of, &quote! { part }, &quote! { & });
            quote! {
                impl #generics ::shared::json::Write for #name #of #conditions {
                    fn write(&self, writer: &mut ::shared::json::Writer) {
                        writer.object(<Self as ::shared::json::Parts>::FIELDS, self);
                    }
                }
                impl #generics ::shared::json::Parts for #name #of #conditions {
                    const FIELDS: &'static [::shared::json::Field] = #table;
                }
                impl #generics ::shared::json::Part for #name #of #conditions {
                    fn part(&self, at: usize) -> &dyn ::shared::json::Write { #ways }
                }
            }
        }
    })
}

/// The fields of a struct, those of flattened ones in their place.
fn table(parts: &[Part<'_>], trait_of: &TokenStream) -> TokenStream {
    let parts: Vec<_> = parts.iter().filter(|part| !part.told.skip).collect();
    if parts.iter().all(|part| !part.told.flatten) {
        let lines = parts.iter().map(|part| line(part.name, part.of, &part.told));
        return quote! { &[#(#lines),*] };
    }
    let tables: Vec<_> = parts
        .iter()
        .map(|part| {
            let (of, line) = (part.of, line(part.name, part.of, &part.told));
            if part.told.flatten {
                quote! { <#of as #trait_of>::FIELDS }
            } else {
                quote! { &[#line] }
            }
        })
        .collect();
    let lengths = parts.iter().map(|part| {
        let of = part.of;
        if part.told.flatten {
            quote! { <#of as #trait_of>::FIELDS.len() }
        } else {
            quote! { 1 }
        }
    });
    quote! {{
        const ALL: [::shared::json::Field; { 0 #(+ #lengths)* }] = ::shared::json::join(&[#(#tables),*]);
        &ALL
    }}
}

/// From a field's place in the table to the field. The last is also where a place leads that no table has.
fn ways(parts: &[Part<'_>], trait_of: &TokenStream, way: &TokenStream, borrow: &TokenStream) -> TokenStream {
    let parts: Vec<_> = parts.iter().filter(|part| !part.told.skip).collect();
    let last = parts.len().saturating_sub(1);
    if parts.iter().all(|part| !part.told.flatten) {
        let arms = parts.iter().enumerate().map(|(at, part)| {
            let name = part.name;
            let at = if at == last {
                quote! { _ }
            } else {
                Literal::usize_suffixed(at).into_token_stream()
            };
            quote! { #at => #borrow self.#name }
        });
        return quote! { match at { #(#arms),* } };
    }
    let steps = parts.iter().enumerate().map(|(at, part)| {
        let (name, of) = (part.name, part.of);
        match (part.told.flatten, at == last) {
            (true, true) => quote! { self.#name.#way(at) },
            (false, true) => quote! { #borrow self.#name },
            (true, false) => quote! {
                if at < <#of as #trait_of>::FIELDS.len() { return self.#name.#way(at); }
                let at = at.wrapping_sub(<#of as #trait_of>::FIELDS.len());
            },
            (false, false) => quote! {
                if at == 0 { return #borrow self.#name; }
                let at = at.wrapping_sub(1);
            },
        }
    });
    quote! { #(#steps)* }
}
