//! JSON Pointer (RFC 6901), and its tokens as indexes of arrays.

use super::MAX_DEPTH;
use super::operation::Refusal;

/// The tokens of a path, unescaped; none for the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// Reads the path in the member `name`. A `~` before anything but `0` and `1` stands for
    /// itself: the reference stores such names.
    pub(super) fn parse(name: &'static str, text: Option<&str>) -> Result<Self, Refusal> {
        let text = text.ok_or(Refusal::MemberMissing(name))?;
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let tokens = text.strip_prefix('/').ok_or(Refusal::NoPointer(name))?;
        let tokens: Vec<_> = tokens
            .split('/')
            .take(MAX_DEPTH + 1)
            .map(unescape)
            .collect();
        if tokens.len() > MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        Ok(Self(tokens))
    }

    pub(super) fn tokens(&self) -> &[String] {
        &self.0
    }

    /// Whether `other` lies inside of what this points to.
    pub(super) fn holds(&self, other: &Self) -> bool {
        other.0.len() > self.0.len() && other.0.starts_with(&self.0)
    }
}

/// `~1` first: the other way round `~01` would become a slash.
fn unescape(token: &str) -> String {
    if token.contains('~') {
        token.replace("~1", "/").replace("~0", "~")
    } else {
        token.to_owned()
    }
}

/// A token that may be a place in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// `-`: behind the last element.
    End,
    /// `0` is the first.
    FromStart(usize),
    /// `-1` is the last.
    FromEnd(usize),
}

impl Index {
    /// `-`, digits, or digits after a minus sign.
    pub(super) fn parse(token: &str) -> Option<Self> {
        if token == "-" {
            return Some(Self::End);
        }
        let digits = token.strip_prefix('-').unwrap_or(token);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // What no array is as long as is beyond the end of every array.
        let number = digits.parse().unwrap_or(usize::MAX);
        let is_from_end = digits.len() < token.len() && number > 0;
        Some(if is_from_end {
            Self::FromEnd(number)
        } else {
            Self::FromStart(number)
        })
    }

    /// The element of an array of this length, if there is one.
    pub(super) fn of_element(self, length: usize) -> Option<usize> {
        match self {
            Self::End => None,
            Self::FromStart(index) => Some(index).filter(|index| *index < length),
            Self::FromEnd(back) => length.checked_sub(back),
        }
    }

    /// Where a new element goes in an array of this length. Negative indexes count in the array
    /// as it will be: `-1` appends.
    pub(super) fn of_insertion(self, length: usize) -> Option<usize> {
        match self {
            Self::End => Some(length),
            Self::FromStart(index) => Some(index).filter(|index| *index <= length),
            Self::FromEnd(back) => length.checked_add(1)?.checked_sub(back),
        }
    }
}
