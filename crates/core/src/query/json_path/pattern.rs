//! The patterns of `like_regex`.

use regex::{Regex, RegexBuilder};

use super::JsonPathError;

/// Bytes that a compiled regular expression may take.
const MAX_REGEX_BYTES: usize = 256 * 1024;

/// Deepest nesting within a regular expression; its compiler recurses.
const MAX_REGEX_DEPTH: u32 = 32;

/// Compiles a pattern with the flags `i`, `s`, `m` and `q` (the pattern is plain text).
pub(super) fn compile(pattern: &str, flags: &str) -> Result<Regex, JsonPathError> {
    if let Some(unknown) = flags
        .chars()
        .find(|flag| !matches!(flag, 'i' | 's' | 'm' | 'q'))
    {
        return Err(JsonPathError(format!(
            "unsupported regular expression flag `{unknown}`"
        )));
    }
    let pattern = if flags.contains('q') {
        regex::escape(pattern)
    } else {
        pattern.to_owned()
    };
    RegexBuilder::new(&pattern)
        .case_insensitive(flags.contains('i'))
        .dot_matches_new_line(flags.contains('s'))
        .multi_line(flags.contains('m'))
        .size_limit(MAX_REGEX_BYTES)
        .nest_limit(MAX_REGEX_DEPTH)
        .build()
        .map_err(|_| JsonPathError("invalid or unsupported regular expression".to_owned()))
}
