//! Stripe's request bodies: forms whose names nest by brackets, `line_items[0][price]=price_1`.
//!
//! All values are text. An empty text unsets what it names, as at Stripe, and is read as `null`.

use serde_json::{Map, Value, json};

use super::refused::Refused;

/// Names nest at most this deep; Stripe's deepest parameters nest seven times.
const DEPTH_MAX: usize = 10;

/// Reads a body or a query into one object; lists become arrays.
///
/// # Errors
/// When it is no such form.
pub(super) fn parse(text: &str) -> Result<Value, Refused> {
    let mut root = json!({});
    for (name, value) in pairs(text)? {
        let path: Vec<&str> = name.split(['[', ']']).filter(|part| !part.is_empty()).collect();
        if path.is_empty() || path.len() > DEPTH_MAX {
            return Err(Refused::parameter(&name, "This name cannot be read."));
        }
        let path = if name.ends_with("[]") { [path, vec![""]].concat() } else { path };
        insert(&mut root, &path, &value);
    }
    Ok(lists(root))
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, Refused> {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(&text.replace('+', " "))
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| Refused::parameter(text, "This is not UTF-8."))
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn insert(place: &mut Value, path: &[&str], value: &str) {
    let Some((name, rest)) = path.split_first() else {
        *place = if value.is_empty() { Value::Null } else { json!(value) };
        return;
    };
    if !place.is_object() {
        *place = json!({});
    }
    let Some(map) = place.as_object_mut() else { return };
    let name = if name.is_empty() { map.len().to_string() } else { (*name).to_owned() };
    insert(map.entry(name).or_insert(Value::Null), rest, value);
}

/// Objects whose names are 0, 1, … are lists.
fn lists(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    let map: Map<String, Value> = map.into_iter().map(|(name, value)| (name, lists(value))).collect();
    let is_list = !map.is_empty() && (0..map.len()).all(|number| map.contains_key(&number.to_string()));
    if !is_list {
        return Value::Object(map);
    }
    let mut numbered: Vec<(usize, Value)> =
        map.into_iter().filter_map(|(name, value)| Some((name.parse().ok()?, value))).collect();
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, value)| value).collect()
}

/// A parameter's text; absent and unset are the same.
pub(super) fn text<'a>(parameters: &'a Value, path: &str) -> Option<&'a str> {
    at(parameters, path)?.as_str()
}

/// A parameter that must be there.
///
/// # Errors
/// When it is not.
pub(super) fn required<'a>(parameters: &'a Value, path: &str) -> Result<&'a str, Refused> {
    text(parameters, path).ok_or_else(|| Refused::missing(path))
}

/// A whole number.
///
/// # Errors
/// When it is something else.
pub(super) fn number(parameters: &Value, path: &str) -> Result<Option<i64>, Refused> {
    text(parameters, path)
        .map(|text| text.parse().map_err(|_| Refused::parameter(path, &format!("Invalid integer: {text}"))))
        .transpose()
}

/// A yes or no; absent is no.
pub(super) fn flag(parameters: &Value, path: &str) -> bool {
    text(parameters, path) == Some("true")
}

/// What is at a path such as `subscription_data.metadata`.
pub(super) fn at<'a>(parameters: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(parameters, |value, name| match value {
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        Value::Object(map) => map.get(name),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// A list of texts, also where it was given as a single text.
pub(super) fn texts(parameters: &Value, path: &str) -> Vec<String> {
    match at(parameters, path) {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(_) | None => Vec::new(),
    }
}

/// Merges metadata as Stripe does: an empty value removes its name.
pub(super) fn merge_metadata(object: &mut Value, given: Option<&Value>) {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let (Some(given), Some(metadata)) =
        (given.and_then(Value::as_object), object["metadata"].as_object_mut())
    else {
        return;
    };
    for (name, value) in given {
        if value.is_null() {
            metadata.remove(name);
        } else {
            metadata.insert(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_stripe_reads_them() {
        let cases = [
            ("", json!({})),
            ("a=1&b=x%20y+z", json!({"a": "1", "b": "x y z"})),
            ("metadata[k]=v&metadata[gone]=", json!({"metadata": {"k": "v", "gone": null}})),
            (
                "line_items[0][price]=p&line_items[0][quantity]=2&line_items[1][price]=q",
                json!({"line_items": [{"price": "p", "quantity": "2"}, {"price": "q"}]}),
            ),
            ("lookup_keys[]=a&lookup_keys[]=b", json!({"lookup_keys": ["a", "b"]})),
            ("a[b][c]=1&a[b][d]=2", json!({"a": {"b": {"c": "1", "d": "2"}}})),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        assert!(parse("=1").is_err() && parse("a=%ff").is_err());
    }

    #[test]
    fn an_empty_value_removes_metadata() {
        let mut object = json!({"metadata": {"a": "1", "b": "2"}});
        merge_metadata(&mut object, Some(&json!({"a": null, "c": "3"})));
        assert_eq!(object["metadata"], json!({"b": "2", "c": "3"}));
    }
}
