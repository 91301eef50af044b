//! Enums: words, words with content, and objects that name their variant in a field.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Error, Fields, Ident, Result, Variant};

use crate::Direction;
use crate::attributes::{Container, Field};
use crate::object::line;

pub(crate) fn derive(
    input: &DeriveInput,
    container: &Container,
    data: &DataEnum,
    direction: Direction,
) -> Result<TokenStream> {
    let name = &input.ident;
    match direction {
        Direction::Read => {
            let body = if data.variants.iter().all(|variant| matches!(variant.fields, Fields::Unit)) {
                words(container, data)
            } else {
                let texts = data.variants.iter().map(|variant| container.variant(&variant.ident));
                let last = data.variants.len().saturating_sub(1);
                let arms = data.variants.iter().enumerate().map(|(at, variant)| {
                    let arm = read(container, variant)?;
                    Ok(if at == last {
                        quote! { _ => #arm }
                    } else {
                        quote! { #at => #arm }
                    })
                });
                let arms = arms.collect::<Result<Vec<_>>>()?;
                match &container.tag {
                    Some(tag) => quote! {
                        match reader.tag(#tag, &[#(#texts),*])? { #(#arms)* }
                        Ok(())
                    },
                    None => quote! {
                        let variant = reader.variant(&[#(#texts),*])?;
                        match variant.place() { #(#arms)* }
                        reader.end_of_variant(&variant)
                    },
                }
            };
            let first =
                data.variants.first().ok_or_else(|| Error::new_spanned(input, "it has no variants"))?;
            let blank = blank(first)?;
            Ok(quote! {
                impl ::shared::json::Read for #name {
                    fn blank() -> Self { #blank }
                    fn read(&mut self, reader: &mut ::shared::json::Reader<'_>) -> Result<(), ::shared::json::Error> {
                        #body
                    }
                }
            })
        }
        Direction::Write => {
            let arms = data.variants.iter().map(|variant| write(container, variant));
            let arms = arms.collect::<Result<Vec<_>>>()?;
            Ok(quote! {
                impl ::shared::json::Write for #name {
                    fn write(&self, writer: &mut ::shared::json::Writer) { match self { #(#arms)* } }
                }
            })
        }
    }
}

/// A value of the first variant, which is read over.
fn blank(variant: &Variant) -> Result<TokenStream> {
    let name = &variant.ident;
    Ok(match &variant.fields {
        Fields::Unit => quote! { Self::#name },
        Fields::Named(fields) => {
            let names = fields.named.iter().filter_map(|field| field.ident.as_ref());
            quote! { Self::#name { #(#names: ::shared::json::Read::blank()),* } }
        }
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            quote! { Self::#name(::shared::json::Read::blank()) }
        }
        Fields::Unnamed(_) => {
            return Err(Error::new_spanned(variant, "accepted is one field without a name"));
        }
    })
}

/// An enum whose variants are all words.
fn words(container: &Container, data: &DataEnum) -> TokenStream {
    let texts = data.variants.iter().map(|variant| container.variant(&variant.ident));
    let last = data.variants.len().saturating_sub(1);
    let arms = data.variants.iter().enumerate().map(|(at, variant)| {
        let name = &variant.ident;
        if at == last {
            quote! { _ => Self::#name }
        } else {
            quote! { #at => Self::#name }
        }
    });
    quote! {
        *self = match reader.word_of(&[#(#texts),*])? { #(#arms),* };
        Ok(())
    }
}

fn named(fields: &Fields) -> Vec<&Ident> {
    fields.iter().filter_map(|field| field.ident.as_ref()).collect()
}

/// One variant's arm of a reader that is behind its name, or before the object that names it.
fn read(container: &Container, variant: &Variant) -> Result<TokenStream> {
    let name = &variant.ident;
    let tagged = container.tag.is_some();
    // Behind a tag the fields stand in the same object; else the content is behind the variant's name.
    let content = if tagged {
        quote! {}
    } else {
        quote! { reader.content(&variant)?; }
    };
    Ok(match &variant.fields {
        Fields::Unit if tagged => quote! { { reader.skip()?; *self = Self::#name; } },
        Fields::Unit => quote! { { reader.unit(&variant)?; *self = Self::#name; } },
        Fields::Named(fields) => {
            let names = named(&variant.fields);
            let lines = fields
                .named
                .iter()
                .zip(&names)
                .map(|(field, name)| Ok(line(name, &field.ty, &Field::of(&field.attrs)?)));
            let lines = lines.collect::<Result<Vec<_>>>()?;
            let types = fields.named.iter().map(|field| &field.ty);
            quote! {
                {
                    #content
                    #(let mut #names: #types = ::shared::json::Read::blank();)*
                    reader.object(&[#(#lines),*], false, &mut ::shared::json::List(&mut [#(&mut #names),*]))?;
                    *self = Self::#name { #(#names),* };
                }
            }
        }
        Fields::Unnamed(fields) => {
            blank(variant)?;
            let of = fields.unnamed.first().map(|field| &field.ty);
            quote! {
                {
                    #content
                    let mut content: #of = ::shared::json::Read::blank();
                    ::shared::json::Read::read(&mut content, reader)?;
                    *self = Self::#name(content);
                }
            }
        }
    })
}

/// One variant's arm of a writer.
fn write(container: &Container, variant: &Variant) -> Result<TokenStream> {
    let (name, text) = (&variant.ident, container.variant(&variant.ident));
    Ok(match (&variant.fields, &container.tag) {
        (Fields::Unit, None) => quote! { Self::#name => writer.string(#text), },
        (Fields::Unit, Some(tag)) => quote! {
            Self::#name => writer.fields("", &[(#tag, &#text)]),
        },
        (Fields::Named(_), tag) => {
            let names = named(&variant.fields);
            let texts = names.iter().map(ToString::to_string);
            let (of, tag) = match tag {
                None => (text, quote! {}),
                Some(tag) => (String::new(), quote! { (#tag, &#text), }),
            };
            quote! {
                Self::#name { #(#names),* } => writer.fields(#of, &[#tag #((#texts, #names)),*]),
            }
        }
        (Fields::Unnamed(_), None) => {
            blank(variant)?;
            quote! { Self::#name(content) => writer.fields("", &[(#text, content)]), }
        }
        (Fields::Unnamed(fields), Some(tag)) => {
            blank(variant)?;
            let of = fields.unnamed.first().map(|field| &field.ty);
            quote! {
                Self::#name(content) => {
                    writer.tagged(#tag, #text, <#of as ::shared::json::Parts>::FIELDS, content);
                }
            }
        }
    })
}
