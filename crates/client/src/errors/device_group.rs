use http::StatusCode;
use lamassu_core::device_group::DeviceGroupError;

use super::query;
use crate::refusal::{Refusal, WireError};

const INVALID: StatusCode = StatusCode::BAD_REQUEST;

impl WireError for DeviceGroupError {
    /// Members come last, whose texts are free.
    fn read(refusal: &Refusal) -> Option<Self> {
        refusal
            .one_of([
                Self::Validation,
                Self::NotFound,
                Self::Exists,
                Self::Circular,
                Self::HasChildren,
                Self::DeviceNotFound,
                Self::RevisionConflict,
                Self::ActionNotFound,
                Self::Forbidden,
            ])
            .or_else(|| criterion(refusal))
            .or_else(|| {
                let rest = refusal.after(INVALID, "device groups are nested at most ")?;
                let depth = rest.strip_suffix(" deep")?.parse().ok()?;
                Some(Self::TooDeep(depth))
            })
            .or_else(|| {
                let rest = refusal.after(INVALID, "invalid policy '")?;
                let (name, reason) = rest.split_once("': ")?;
                Some(Self::Policy {
                    name: name.to_owned(),
                    reason: reason.to_owned(),
                })
            })
            .or_else(|| {
                let rest = refusal.after(INVALID, "there are more than ")?;
                let n = rest.strip_suffix(" device groups")?.parse().ok()?;
                Some(Self::TooMany(n))
            })
            .or_else(|| {
                let rest = refusal.after(INVALID, "invalid parameters: ")?;
                Some(Self::Parameters(rest.to_owned()))
            })
            .or_else(|| {
                let rest = refusal.after(INVALID, "failed to apply the patch: ")?;
                Some(Self::PatchFailed(rest.to_owned()))
            })
            .or_else(|| query::read_in_v2(refusal).map(Self::Query))
            .or_else(|| {
                let is_member = refusal.code.as_deref() == Some("unknown_field");
                is_member.then(|| Self::Member(refusal.text.clone()))
            })
    }
}

fn criterion(refusal: &Refusal) -> Option<DeviceGroupError> {
    let at_index = |rest: &str| -> Option<(String, usize)> {
        let (rest, index) = rest.rsplit_once(" at criteria index ")?;
        Some((rest.to_owned(), index.parse().ok()?))
    };
    if let Some(rest) = refusal.after(INVALID, "invalid filter field '") {
        let (field, index) = at_index(rest)?;
        let field = field.strip_suffix('\'')?.to_owned();
        return Some(DeviceGroupError::CriterionField { field, index });
    }
    if let Some(rest) = refusal.after(INVALID, "invalid operand '") {
        let (rest, index) = at_index(rest)?;
        let (operand, field) = rest.strip_suffix('\'')?.rsplit_once("' for field '")?;
        return Some(DeviceGroupError::CriterionOperand {
            operand: operand.to_owned(),
            field: field.to_owned(),
            index,
        });
    }
    let rest = refusal.after(INVALID, "invalid criteria index ")?;
    let (index, text) = rest.split_once(": ")?;
    let cause = Refusal {
        text: text.to_owned(),
        status: refusal.status,
        code: Some("invalid_filter".to_owned()),
        retry_after: None,
        details: Vec::new(),
    };
    Some(DeviceGroupError::CriterionValue {
        index: index.parse().ok()?,
        cause: query::read(&cause)?,
    })
}
