//! Reading JSON strictly, for interfaces that have no clients of the reference: names by case, `null` only
//! where it is allowed, nothing behind the value, and members that nobody reads are refused by name.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{JsonError, check_storable, free_value_refused, syntax};

/// Most unknown members that a refusal names.
const MAX_NAMED: usize = 16;

/// Why a body was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    /// It is no JSON.
    #[error("{0}")]
    Json(JsonError),
    /// What is at this place is of the wrong type, or none of the values that there are.
    #[error("{1}")]
    Member(String, JsonError),
    /// It has members that there are not; their places, at least one.
    #[error("json: unknown field '{}'", .0.first().map_or("", String::as_str))]
    UnknownMembers(Vec<String>),
}

/// Reads the one JSON object of `bytes` into `T`.
///
/// # Errors
/// [`StrictError`].
pub fn object_from_slice_strict<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StrictError> {
    // Types with members would also read them from an array, by place.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let _array: serde_json::Value = from_slice_strict(bytes)?;
        let text = "json: cannot unmarshal array into an object".to_owned();
        return Err(StrictError::Json(JsonError(text)));
    }
    from_slice_strict(bytes)
}

/// Reads the one JSON value of `bytes` into `T`.
///
/// # Errors
/// [`StrictError`].
pub fn from_slice_strict<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StrictError> {
    let mut stream = serde_json::Deserializer::from_slice(bytes);
    let raw = serde::Deserialize::deserialize(&mut stream);
    let raw: &RawValue = raw.map_err(|error| StrictError::Json(syntax(&error, bytes)))?;
    let text = raw.get();
    check_storable(text).map_err(StrictError::Json)?;
    stream
        .end()
        .map_err(|error| StrictError::Json(syntax(&error, bytes)))?;
    let mut unknown = Vec::new();
    let mut document = serde_json::Deserializer::from_str(text);
    let value = serde_ignored::deserialize(&mut document, |path| {
        if unknown.len() < MAX_NAMED {
            // Steps into optional values are none of the client's.
            unknown.push(path.to_string().replace(".?", ""));
        }
    });
    let value = value.map_err(|error| {
        let JsonError(text) = free_value_refused(&error);
        let has_prefix = text.starts_with("json: ");
        let error = JsonError(match has_prefix {
            true => text,
            false => format!("json: {text}"),
        });
        match place_of_refusal::<T>(raw.get()) {
            Some(place) => StrictError::Member(place, error),
            None => StrictError::Json(error),
        }
    })?;
    if unknown.is_empty() {
        Ok(value)
    } else {
        Err(StrictError::UnknownMembers(unknown))
    }
}

/// Where the value is that `T` does not take, if that is not the document itself.
fn place_of_refusal<T: DeserializeOwned>(text: &str) -> Option<String> {
    let mut document = serde_json::Deserializer::from_str(text);
    let refused = serde_path_to_error::deserialize::<_, T>(&mut document).err()?;
    let place = refused.path().to_string();
    // `?` stands for what is not known of the way.
    (place != "." && !place.contains('?')).then_some(place)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{StrictError, from_slice_strict, object_from_slice_strict};

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        #[serde(default)]
        name: String,
        inner: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        n: u8,
    }

    fn refusal(text: &str) -> String {
        object_from_slice_strict::<Outer>(text.as_bytes())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_not_described_is_refused_by_name() {
        assert_eq!(
            from_slice_strict::<Outer>(br#"{"name":"a","inner":{"n":1,"m":2},"Name":1}"#),
            Err(StrictError::UnknownMembers(vec![
                "inner.m".to_owned(),
                "Name".to_owned()
            ]))
        );
        assert_eq!(refusal(r#"{"x":1}"#), "json: unknown field 'x'");
    }

    #[test]
    fn what_is_refused_is_named_by_its_place() {
        let place = |text: &str| match from_slice_strict::<Outer>(text.as_bytes()) {
            Err(StrictError::Member(place, _)) => place,
            other => format!("{other:?}"),
        };
        assert_eq!(place(r#"{"name":1}"#), "name");
        assert_eq!(place(r#"{"inner":{"n":"one"}}"#), "inner.n");
        assert_eq!(place(r#"{"inner":{}}"#), "inner");
        let whole = from_slice_strict::<Outer>(b"5");
        assert!(matches!(whole, Err(StrictError::Json(_))), "{whole:?}");
    }

    #[test]
    fn only_one_value_of_the_right_type_is_read() {
        assert_eq!(refusal(""), "EOF");
        assert_eq!(refusal("{"), "unexpected EOF");
        for text in [
            r#"{"name":"a"} x"#,
            r#"{"name":null}"#,
            r#"{"name":1}"#,
            "[]",
            "5",
            "nope",
        ] {
            assert!(refusal(text).starts_with("json: "), "{text}");
        }
        assert_eq!(
            refusal("{\"x\":\"\\u0000\"}"),
            "json: field x holds the character U+0000, which cannot be stored"
        );
    }
}
