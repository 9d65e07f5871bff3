//! Query strings, as lenient as the reference's clients need them.

use crate::percent;

/// The pairs of a query string in their order: `+` is a space, `%XX` a byte, decoded once.
///
/// A pair with a malformed escape, text that is not UTF-8 or a raw `;` is left out, the others
/// stay.
pub fn decode_form(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode_component(name)?, decode_component(value)?))
        })
        .collect()
}

/// One name or value, decoded; `None` when an escape is malformed.
pub(super) fn decode_component(text: &str) -> Option<String> {
    String::from_utf8(percent::decode(&text.replace('+', " "))?).ok()
}

/// Appends `name=value` to a query string, encoded.
pub(super) fn append(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(&percent::encode(name));
    query.push('=');
    query.push_str(&percent::encode(value));
}
