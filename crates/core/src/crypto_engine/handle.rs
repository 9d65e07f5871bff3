//! The names of keys inside engines.

use std::fmt;
use std::sync::Arc;

/// The name of a key inside an engine: 1 to 128 ASCII letters, digits, `-` and `_`.
///
/// Nothing else, so that it can be a file name, a path segment or a label as it stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHandle(Arc<str>);

impl KeyHandle {
    /// Longest text in bytes.
    pub const MAX_LEN: usize = 128;

    /// Reads a handle.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyHandle`] for an empty or too long text, or one with other characters.
    pub fn try_new(text: &str) -> Result<Self, InvalidKeyHandle> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(allowed) {
            return Err(InvalidKeyHandle);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A text that cannot name a key in an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key handles are 1 to 128 letters, digits, '-' and '_'")]
pub struct InvalidKeyHandle;

#[cfg(test)]
mod tests {
    use super::{InvalidKeyHandle, KeyHandle};

    #[test]
    fn handles_cannot_leave_their_directory() {
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            ".tmp",
            "a b",
            "ä",
            "a\0",
            &"a".repeat(129),
        ] {
            assert_eq!(KeyHandle::try_new(text), Err(InvalidKeyHandle), "{text:?}");
        }
        for text in ["a", "-", "0b2f-_Z", &"a".repeat(128)] {
            assert_eq!(KeyHandle::try_new(text).unwrap().as_str(), text);
        }
    }
}
