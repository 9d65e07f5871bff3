//! Why a list was not given; the texts are the wire's.

use std::fmt;

use crate::error::{ErrorKind, ServiceError};

/// Why the query parameters of a list or of statistics were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The operand does not exist for fields of this type.
    #[error("invalid filter operand '{operand}' for field '{field}' of type {type_code}")]
    InvalidOperand {
        /// The operand as it was sent.
        operand: String,
        /// The field's name.
        field: String,
        /// The numeric code of the field's type, 0 (String) to 5 (JSON).
        type_code: u8,
    },
    /// The value is no date, number or truth value.
    #[error("invalid value for field '{field}': {reason}")]
    InvalidValue {
        /// The field's name.
        field: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// The value is no JSONPath expression that we evaluate.
    #[error("invalid JSONPath expression: {0}")]
    InvalidJsonPath(String),
    /// The bookmark was not made by this installation, or for another list.
    #[error("not a valid bookmark")]
    InvalidBookmark,
    /// The field does not exist; only where unknown fields are refused.
    #[error("unknown filter field '{0}'")]
    UnknownField(String),
    /// The filter is not `field[operand]value`; only where unknown fields are refused.
    #[error("malformed filter '{0}'")]
    MalformedFilter(String),
    /// The sort is not one that the resource has; only where unknown fields are refused.
    #[error("invalid sort '{0}'")]
    InvalidSort(String),
    /// The list has no such parameter; in v2 only.
    #[error("unknown query parameter '{0}'")]
    UnknownParameter(String),
    /// The value of a parameter is none that it takes, in v2, or not UTF-8.
    #[error("invalid query parameter '{name}': {reason}")]
    InvalidParameter {
        /// The parameter.
        name: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The filters ask for more than one request may.
    #[error("{0}")]
    LimitExceeded(QueryLimit),
}

/// What the filters of one request may be at most, so that none of them occupies a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryLimit {
    /// The number of filters.
    Filters,
    /// The length of all filters together, in bytes.
    FilterBytes,
    /// The number of elements in the list of one filter.
    ListElements,
}

impl QueryLimit {
    /// The largest number that is accepted.
    pub const fn max(self) -> usize {
        match self {
            Self::Filters => 32,
            // Bookmarks carry them, in base64, and have to fit into a request line.
            Self::FilterBytes => 32 * 1024,
            Self::ListElements => 1_000,
        }
    }

    /// Refuses a larger number.
    pub(super) const fn check(self, found: usize) -> Result<(), QueryError> {
        if found > self.max() {
            return Err(QueryError::LimitExceeded(self));
        }
        Ok(())
    }
}

impl fmt::Display for QueryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = self.max();
        match self {
            Self::Filters => write!(f, "a request has at most {max} filters"),
            Self::FilterBytes => write!(f, "the filters of a request have at most {max} bytes"),
            Self::ListElements => write!(f, "a list in a filter has at most {max} elements"),
        }
    }
}

impl QueryError {
    /// The word beside the text in v2, where a filter on an unknown field is an invalid one.
    pub fn code_in_v2(&self) -> &'static str {
        match self {
            Self::UnknownField(_) => "invalid_filter",
            other => other.code().unwrap_or("validation_failed"),
        }
    }
}

impl ServiceError for QueryError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::UnknownField(_) | Self::UnknownParameter(_) => "unknown_field",
            Self::InvalidParameter { .. } => "validation_failed",
            Self::InvalidBookmark => "invalid_bookmark",
            Self::InvalidSort(_) => "invalid_sort",
            Self::InvalidOperand { .. }
            | Self::InvalidValue { .. }
            | Self::InvalidJsonPath(_)
            | Self::MalformedFilter(_)
            | Self::LimitExceeded(_) => "invalid_filter",
        })
    }
}
