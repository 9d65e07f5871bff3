//! Regular expressions in settings: what a whole text must match.

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may take.
const MAX_BYTES: usize = 256 * 1024;

/// Deepest nesting within a pattern; its compiler recurses.
const MAX_DEPTH: u32 = 32;

/// A regular expression without look-around and back references, so that matching takes time in
/// proportion to the text. It matches from the beginning to the end.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no regular expression, or too large a one")]
pub struct InvalidPattern(String);

impl Pattern {
    /// The pattern of this text.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`].
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let compile = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(MAX_BYTES)
                .nest_limit(MAX_DEPTH)
                .build()
                .map_err(|_| InvalidPattern(text.to_owned()))
        };
        // By itself first: what the group around it would make valid, `a)(b`, is not meant.
        compile(text)?;
        compile(&format!("^(?:{text})$")).map(Self)
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn the_whole_text_must_match() {
        let pattern = Pattern::parse("dev-[0-9]+|x").unwrap();
        for (text, matches) in [
            ("dev-1", true),
            ("dev-1x", false),
            ("xx", false),
            ("x", true),
        ] {
            assert_eq!(pattern.matches(text), matches, "{text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["[", "a)(b", "(?=a)", "(a{1000}){1000}"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
