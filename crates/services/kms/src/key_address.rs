//! What a caller's reference to a key means.

use lamassu_core::ids::{KeyId, KeyRef};
use lamassu_core::kms::KmsError;

/// A reference, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyAddress {
    /// From a `pkcs11:` URI: a key id and nothing else.
    Id(KeyId),
    /// A key id or, where no key has it, an alias.
    IdOrAlias(String),
}

impl KeyAddress {
    /// Reads a reference. Of a URI only the attribute `id` counts: a key that moved to another
    /// engine is still found by the URI that a client kept.
    ///
    /// # Errors
    ///
    /// [`KmsError::InvalidUri`] for a URI without `token-id`, `id` and `type`;
    /// [`KmsError::Validation`] for the empty reference.
    pub(crate) fn parse(reference: &KeyRef) -> Result<Self, KmsError> {
        if reference.is_empty() {
            return Err(KmsError::Validation);
        }
        let text = reference.as_str();
        let Some(attributes) = text.strip_prefix("pkcs11:") else {
            return Ok(Self::IdOrAlias(text.to_owned()));
        };
        let attribute = |wanted: &str| {
            let pairs = attributes
                .split(';')
                .filter_map(|part| part.split_once('='));
            pairs
                .filter(|(name, _)| *name == wanted)
                .map(|(_, value)| value)
                .next_back()
        };
        match (attribute("token-id"), attribute("id"), attribute("type")) {
            (Some(_), Some(id), Some(_)) => Ok(Self::Id(KeyId::from(id))),
            _ => Err(KmsError::InvalidUri),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KeyAddress;
    use lamassu_core::ids::{KeyId, KeyRef};

    fn parse(text: &str) -> Result<KeyAddress, String> {
        KeyAddress::parse(&KeyRef::from(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn uris_need_three_attributes_in_any_order_and_name_an_id() {
        for text in [
            "pkcs11:token-id=a;id=b;type=private",
            "pkcs11:type=public;id=b;token-id=",
            "pkcs11:token-id=a;id=b;type=private;object=x",
        ] {
            assert_eq!(parse(text), Ok(KeyAddress::Id(KeyId::from("b"))), "{text}");
        }
        for text in [
            "pkcs11:",
            "pkcs11:id=b",
            "pkcs11:token-id=a;id=b",
            "pkcs11:token-id;id;type",
        ] {
            let expected = Err("invalid id format: missing required fields".to_owned());
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_is_an_id_or_an_alias() {
        for text in ["line-4", "a/b", "PKCS11:id=b", " "] {
            assert_eq!(parse(text), Ok(KeyAddress::IdOrAlias(text.to_owned())));
        }
        assert_eq!(parse(""), Err("struct validation error".to_owned()));
    }
}
