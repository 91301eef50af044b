//! serde's attributes, as far as our types have them; all others are refused.

use syn::{Attribute, Error, Ident, LitStr, Result};

/// What stands above a type.
#[derive(Debug, Default)]
pub(crate) struct Container {
    /// How variants are named.
    pub(crate) rename_all: Option<Case>,
    /// The field that names the variant.
    pub(crate) tag: Option<String>,
    /// Whether fields that the type does not have are refused.
    pub(crate) deny_unknown_fields: bool,
}

/// How names are made of variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Snake,
    Lower,
}

/// What stands above a field.
#[derive(Debug, Default)]
pub(crate) struct Field {
    /// Its name, where it is not the field's own.
    pub(crate) rename: Option<String>,
    /// Whether it may be missing.
    pub(crate) default: bool,
    /// Whether it is left out where there is nothing to say.
    pub(crate) left_out: bool,
    /// Whether its fields stand among the others.
    pub(crate) flatten: bool,
    /// Whether it is no part of the text.
    pub(crate) skip: bool,
}

impl Container {
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut container = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename_all") {
                    let case: LitStr = meta.value()?.parse()?;
                    container.rename_all = Some(match case.value().as_str() {
                        "snake_case" => Case::Snake,
                        "lowercase" => Case::Lower,
                        _ => return Err(Error::new_spanned(case, "accepted are snake_case and lowercase")),
                    });
                } else if meta.path.is_ident("tag") {
                    container.tag = Some(meta.value()?.parse::<LitStr>()?.value());
                } else if meta.path.is_ident("deny_unknown_fields") {
                    container.deny_unknown_fields = true;
                } else if !meta.path.is_ident("transparent") {
                    return Err(meta.error("this derive does not know that attribute"));
                }
                Ok(())
            })?;
        }
        Ok(container)
    }

    /// The variant's name in the text.
    pub(crate) fn variant(&self, name: &Ident) -> String {
        let name = name.to_string();
        match self.rename_all {
            None => name,
            Some(Case::Lower) => name.to_lowercase(),
            Some(Case::Snake) => {
                let mut snake = String::new();
                for letter in name.chars() {
                    if letter.is_uppercase() && !snake.is_empty() {
                        snake.push('_');
                    }
                    snake.extend(letter.to_lowercase());
                }
                snake
            }
        }
    }
}

impl Field {
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut field = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename") {
                    field.rename = Some(meta.value()?.parse::<LitStr>()?.value());
                } else if meta.path.is_ident("default") {
                    field.default = true;
                } else if meta.path.is_ident("skip_serializing_if") {
                    // All of ours ask whether there is nothing to say, which `Write::is_blank` tells of each type.
                    meta.value()?.parse::<LitStr>()?;
                    field.left_out = true;
                } else if meta.path.is_ident("flatten") {
                    field.flatten = true;
                } else if meta.path.is_ident("skip") {
                    field.skip = true;
                } else {
                    return Err(meta.error("this derive does not know that attribute"));
                }
                Ok(())
            })?;
        }
        Ok(field)
    }
}
