use lamassu_core::device::DeviceError;

use http::StatusCode;
use lamassu_core::patch::PatchError;

use super::query;
use crate::refusal::{Refusal, WireError};

impl WireError for DeviceError {
    fn read(refusal: &Refusal) -> Option<Self> {
        refusal
            .one_of([
                Self::Validation,
                Self::NotFound,
                Self::Unknown,
                Self::Exists,
                Self::Decommissioned,
                Self::SlotChanged,
                Self::NotDecommissioned,
            ])
            .or_else(|| patch(refusal))
            .or_else(|| query::read(refusal).map(Self::Query))
    }
}

fn patch(refusal: &Refusal) -> Option<DeviceError> {
    let rest = refusal.after(
        StatusCode::BAD_REQUEST,
        "failed to apply patches to metadata: ",
    )?;
    Some(DeviceError::Patch(PatchError {
        reason: rest.to_owned(),
    }))
}
