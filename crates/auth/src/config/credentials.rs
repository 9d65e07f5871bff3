//! The credentials beside bearer tokens: client certificates and fixed keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, HOST};
use serde::{Deserialize, Serialize};

/// Client certificates as credentials of management calls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientCertificateConfig {
    /// Whether they are. Default false.
    pub enabled: bool,
    /// PEM files of the CAs that are believed. Default the file of `server.authentication.mutual_tls`
    /// in validation mode `strict`.
    pub ca_cert_files: Vec<PathBuf>,
    /// Which name of the certificate counts. Default `cn`.
    pub subject_field: SubjectField,
    /// Name to built-in roles. One `*` in a name stands for any characters. Default none, so that
    /// nobody is let in.
    pub role_mappings: BTreeMap<String, Vec<String>>,
    /// Whether every call needs a certificate that is believed *and* another credential, which says
    /// what the caller may do. Default false.
    pub required_with_jwt: bool,
}

/// Whether a certificate lets in by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeedsToken {
    /// It does.
    No,
    /// It is needed, and another credential too.
    Yes,
}

impl From<bool> for NeedsToken {
    fn from(required_with_jwt: bool) -> Self {
        if required_with_jwt {
            Self::Yes
        } else {
            Self::No
        }
    }
}

/// A kind of name in certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectField {
    /// The common name of the subject, if there is exactly one.
    #[default]
    Cn,
    /// Any URI among the alternative names.
    SanUri,
    /// Any DNS name among them.
    SanDns,
    /// Any mail address among them.
    SanEmail,
}

/// A name, or its beginning and end around one `*`. Letters count by case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Exact(String),
    Around(String, String),
}

impl Pattern {
    /// `None` for nothing and for more than one `*`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.split_once('*') {
            None => (!text.is_empty()).then(|| Self::Exact(text.to_owned())),
            Some((before, after)) => {
                (!after.contains('*')).then(|| Self::Around(before.to_owned(), after.to_owned()))
            }
        }
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => text == name,
            // The beginning and the end must not share characters.
            Self::Around(before, after) => name
                .strip_prefix(before.as_str())
                .is_some_and(|rest| rest.ends_with(after.as_str())),
        }
    }
}

/// A fixed key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiKeyConfig {
    /// Name in error texts. Required.
    pub name: String,
    /// The header. Default `x-api-key`.
    pub header: String,
    /// SHA-256 of the key, in hex. Required.
    pub sha256: String,
    /// Who its holder is in events and audit. Default the name.
    pub subject: String,
    /// What it may do: built-in roles. Default nothing.
    pub roles: Vec<String>,
}

impl Default for ApiKeyConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            header: "x-api-key".to_owned(),
            sha256: String::new(),
            subject: String::new(),
            roles: Vec::new(),
        }
    }
}

impl ApiKeyConfig {
    /// The header, if it is one that may carry a key.
    pub(crate) fn header_name(&self) -> Option<HeaderName> {
        let name: HeaderName = self.header.parse().ok()?;
        (![AUTHORIZATION, COOKIE, HOST].contains(&name)).then_some(name)
    }

    /// The digest, if it is one and not that of nothing.
    pub(crate) fn digest(&self) -> Option<Vec<u8>> {
        let digest = hex::decode(&self.sha256).ok()?;
        let of_nothing = lamassu_crypto::HashAlgorithm::Sha256.digest(b"");
        (digest.len() == of_nothing.len() && digest != of_nothing).then_some(digest)
    }

    pub(crate) fn subject(&self) -> &str {
        if self.subject.is_empty() {
            &self.name
        } else {
            &self.subject
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_star_stands_for_any_characters_and_stands_once() {
        let cases = [
            ("ca", "ca", true),
            ("ca", "CA", false),
            ("ca", "ca2", false),
            ("aws-*", "aws-1", true),
            ("aws-*", "aws-", true),
            ("aws-*", "xaws-1", false),
            ("*.ops.example", "jane.ops.example", true),
            ("*.ops.example", "jane.ops.example.org", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*", "", true),
        ];
        for (pattern, name, expected) in cases {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(name), expected, "{pattern:?} {name}");
        }
        assert_eq!(Pattern::parse("a*b*"), None);
        assert_eq!(Pattern::parse(""), None);
    }
}
