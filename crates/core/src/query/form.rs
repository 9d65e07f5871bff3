//! Query strings, as lenient as the reference's clients need them.

use super::error::QueryError;
use crate::percent;

/// The pairs of a query string in their order: `+` is a space, `%XX` a byte, decoded once.
///
/// A pair with a malformed escape or a raw `;` is left out, the others stay.
///
/// # Errors
///
/// [`QueryError::InvalidParameter`] where octets are not UTF-8.
pub fn decode_form(query: &str) -> Result<Vec<(String, String)>, QueryError> {
    let mut pairs = Vec::new();
    let sent = query.split('&');
    for pair in sent.filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (octets(name), octets(value)) else {
            continue;
        };
        let refused = |name: &str| QueryError::InvalidParameter {
            name: name.to_owned(),
            reason: "not UTF-8".to_owned(),
        };
        let name = String::from_utf8(name)
            .map_err(|error| refused(&String::from_utf8_lossy(error.as_bytes())))?;
        let value = String::from_utf8(value).map_err(|_| refused(&name))?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn octets(text: &str) -> Option<Vec<u8>> {
    percent::decode(&text.replace('+', " "))
}

/// One name or value, decoded; `None` when an escape is malformed or it is not UTF-8.
pub(super) fn decode_component(text: &str) -> Option<String> {
    String::from_utf8(octets(text)?).ok()
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
