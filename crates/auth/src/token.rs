//! A signed token in compact form (RFC 7515 section 7.1), taken apart and not yet believed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::claims::Claims;
use crate::config::TokenAlgorithm;

/// Header, claims and signature; nothing here is verified.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'a> {
    header: Map<String, Value>,
    pub(crate) claims: Claims,
    /// What is signed: the first two parts with the dot between them.
    pub(crate) signing_input: &'a str,
    /// The signature, base64url.
    pub(crate) signature: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    /// `None` when the text is not of the form.
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        let (signing_input, signature) = token.rsplit_once('.')?;
        let (header, payload) = signing_input.split_once('.')?;
        if payload.contains('.') || URL_SAFE_NO_PAD.decode(signature).is_err() {
            return None;
        }
        Some(Self {
            header: decode_object(header)?,
            claims: Claims(decode_object(payload)?),
            signing_input,
            signature,
        })
    }

    /// The algorithm, if the header is one that this program reads: `alg` known, `typ` absent or
    /// one of an access token (RFC 9068), and no extension that must be understood.
    pub(crate) fn algorithm(&self) -> Option<TokenAlgorithm> {
        let is_typ_fine = match self.header.get("typ") {
            None => true,
            Some(typ) => typ.as_str().is_some_and(is_token_type),
        };
        if !is_typ_fine || self.header.contains_key("crit") {
            return None;
        }
        TokenAlgorithm::from_name(self.header.get("alg")?.as_str()?)
    }

    /// The id of the key that it claims to be signed with.
    pub(crate) fn key_id(&self) -> Option<&str> {
        self.header.get("kid")?.as_str()
    }
}

fn is_token_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(
        typ.strip_prefix("application/").unwrap_or(&typ),
        "jwt" | "at+jwt"
    )
}

fn decode_object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::UnverifiedToken;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _read = UnverifiedToken::parse(&text).map(|token| token.algorithm());
        }

        #[test]
        fn any_parts_are_read_or_refused(header in any::<Vec<u8>>(), claims in "[{}\\[\\]\":,a-z0-9.]*") {
            let text = format!("{}.{}.", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
            let _read = UnverifiedToken::parse(&text).map(|token| token.algorithm());
        }
    }
}
