//! Why groups refuse.

use crate::error::{ErrorKind, ServiceError, StorageFailure};
use crate::query::QueryError;

/// Why something about groups was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeviceGroupError {
    /// A required member is missing or breaks a rule.
    #[error("struct validation error")]
    Validation,
    /// No group has this id.
    #[error("device group not found")]
    NotFound,
    /// Id or name is taken.
    #[error("device group already exists")]
    Exists,
    /// The group would be below itself.
    #[error("circular parent reference detected")]
    Circular,
    /// The group, or one below it, would be deeper than the configuration allows.
    #[error("device groups are nested at most {0} deep")]
    TooDeep(u32),
    /// It is at another revision than the request expects.
    #[error("changed meanwhile")]
    RevisionConflict,
    /// The patch cannot be applied; the text says why.
    #[error("failed to apply the patch: {0}")]
    PatchFailed(String),
    /// There are groups below this one, and nobody said what becomes of them.
    #[error("device group has children")]
    HasChildren,
    /// A criterion names a field that devices do not have.
    #[error("invalid filter field '{field}' at criteria index {index}")]
    CriterionField {
        /// The field as it was sent.
        field: String,
        /// Which criterion, from 0.
        index: usize,
    },
    /// A criterion names an operand that its field does not have.
    #[error("invalid operand '{operand}' for field '{field}' at criteria index {index}")]
    CriterionOperand {
        /// The operand as it was sent.
        operand: String,
        /// The field.
        field: String,
        /// Which criterion, from 0.
        index: usize,
    },
    /// The value of a criterion is none that its field is compared with.
    #[error("invalid criteria index {index}: {cause}")]
    CriterionValue {
        /// Which criterion, from 0.
        index: usize,
        /// What is wrong with the value.
        cause: QueryError,
    },
    /// A policy is none.
    #[error("invalid policy '{name}': {reason}")]
    Policy {
        /// The member.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The parameters of an action are none that it has.
    #[error("invalid parameters: {0}")]
    Parameters(String),
    /// The group has no such action.
    #[error("action not found")]
    ActionNotFound,
    /// The caller may start actions, and not do this to a device.
    #[error("insufficient permissions")]
    Forbidden,
    /// There are more groups than one answer shows.
    #[error("there are more than {0} device groups")]
    TooMany(usize),
    /// A member that groups do not have, or one of the wrong type.
    #[error("{0}")]
    Member(String),
    /// A list parameter is wrong.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// No device has this id.
    #[error("device not found")]
    DeviceNotFound,
    /// Storage.
    #[error(transparent)]
    Storage(#[from] StorageFailure),
}

impl ServiceError for DeviceGroupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Validation
            | Self::Circular
            | Self::TooDeep(_)
            | Self::CriterionField { .. }
            | Self::CriterionOperand { .. }
            | Self::CriterionValue { .. }
            | Self::Policy { .. }
            | Self::PatchFailed(_)
            | Self::Parameters(_)
            | Self::TooMany(_)
            | Self::Member(_)
            | Self::Query(_) => ErrorKind::Invalid,
            Self::NotFound | Self::DeviceNotFound | Self::ActionNotFound => ErrorKind::NotFound,
            Self::Forbidden => ErrorKind::Forbidden,
            Self::Exists | Self::HasChildren => ErrorKind::Conflict,
            Self::RevisionConflict => ErrorKind::PreconditionFailed,
            Self::Storage(failure) => failure.kind(),
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Validation | Self::Policy { .. } | Self::Parameters(_) | Self::TooMany(_) => {
                Some("validation_failed")
            }
            Self::ActionNotFound => Some("action_not_found"),
            Self::Forbidden => Some("insufficient_permissions"),
            Self::NotFound => Some("group_not_found"),
            Self::RevisionConflict => Some("revision_conflict"),
            Self::PatchFailed(_) => Some("patch_failed"),
            Self::DeviceNotFound => Some("device_not_found"),
            Self::Exists => Some("group_exists"),
            Self::Circular => Some("group_cycle"),
            Self::TooDeep(_) => Some("group_too_deep"),
            Self::HasChildren => Some("group_has_children"),
            Self::CriterionField { .. }
            | Self::CriterionOperand { .. }
            | Self::CriterionValue { .. } => Some("invalid_criteria"),
            Self::Member(_) => Some("unknown_field"),
            Self::Query(error) => Some(error.code_in_v2()),
            Self::Storage(failure) => Some(failure.code_in_v2()),
        }
    }
}
