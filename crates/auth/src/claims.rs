//! Reading claims (RFC 7519 section 4).

use serde_json::{Map, Value};

/// The claims of a token.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Claims(pub(crate) Map<String, Value>);

impl Claims {
    /// A claim by its name, or along a path with dots. A claim whose own name has dots (as in
    /// `https://example.com/roles`) is found first.
    pub(crate) fn at(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(path) {
            return Some(value);
        }
        let mut names = path.split('.');
        let first = self.0.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// A claim that is a text with something in it, and that a record can hold: no U+0000.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.at(path)?
            .as_str()
            .filter(|text| !text.is_empty() && !text.contains('\0'))
    }

    /// A point in time, seconds since the Unix epoch; fractions are allowed.
    pub(crate) fn seconds(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    /// The texts of the first claim in `paths` that is present: an array, or one text.
    pub(crate) fn first_list(&self, paths: &[String]) -> Option<Vec<&str>> {
        let value = paths.iter().find_map(|path| self.at(path))?;
        Some(match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            other => other.as_str().into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Claims;

    /// It could not be written into any record.
    #[test]
    fn a_claim_with_nul_counts_as_absent() {
        let claims = Claims(serde_json::from_str(r#"{"sub":"a\u0000","name":"a"}"#).unwrap());
        assert_eq!(claims.text("sub"), None);
        assert_eq!(claims.text("name"), Some("a"));
    }
}
