//! From what a client wrote to what is to be done, and the reasons of refusals.

use serde_json::Value;

use super::pointer::Pointer;
use super::{MAX_DEPTH, MAX_DOCUMENT_BYTES, PatchOperation};

/// Most characters of an unknown operation's name that an error repeats.
const MAX_NAME_CHARS: usize = 32;

/// One readable operation.
#[derive(Debug)]
pub(super) enum Change<'a> {
    Add(Pointer, &'a Value),
    Remove(Pointer),
    Replace(Pointer, &'a Value),
    Test(Pointer, &'a Value),
    Move { from: Pointer, to: Pointer },
    Copy { from: Pointer, to: Pointer },
}

/// Why one operation cannot be read or applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("unsupported operation '{0}'")]
    Unsupported(String),
    #[error("missing {0}")]
    MemberMissing(&'static str),
    #[error("{0} does not start with '/'")]
    NoPointer(&'static str),
    #[error("nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    #[error("there is no value at this path")]
    NoValue,
    #[error("the parent is neither an object nor an array")]
    NoContainer,
    #[error("the parent is an array, and this is no index of one")]
    NoIndex,
    #[error("the index is beyond the end of the array")]
    IndexOutOfRange,
    #[error("the whole document cannot be removed")]
    WholeDocument,
    #[error("a value cannot be moved into itself")]
    IntoItself,
    #[error("the value at this path is another one")]
    TestFailed,
    #[error("what it adds is larger than {MAX_DOCUMENT_BYTES} bytes")]
    TooMuchGrowth,
}

impl<'a> Change<'a> {
    /// Reads an operation; the names of operations are case-sensitive (RFC 6902 §4).
    pub(super) fn read(operation: &'a PatchOperation) -> Result<Self, Refusal> {
        let path = || Pointer::parse("path", operation.path.as_deref());
        let from = || Pointer::parse("from", operation.from.as_deref());
        let value = || match &operation.value {
            None | Some(Value::Null) => Err(Refusal::MemberMissing("value")),
            Some(value) => Ok(value),
        };
        Ok(match operation.op.as_str() {
            "add" => Self::Add(path()?, value()?),
            "remove" => Self::Remove(path()?),
            "replace" => Self::Replace(path()?, value()?),
            "test" => Self::Test(path()?, value()?),
            "move" => Self::Move {
                from: from()?,
                to: path()?,
            },
            "copy" => Self::Copy {
                from: from()?,
                to: path()?,
            },
            "" => return Err(Refusal::MemberMissing("op")),
            other => {
                let name = other.chars().take(MAX_NAME_CHARS).collect();
                return Err(Refusal::Unsupported(name));
            }
        })
    }
}
