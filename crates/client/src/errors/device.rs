use lamassu_core::device::DeviceError;

use super::query;
use crate::refusal::{Refusal, WireError};

impl WireError for DeviceError {
    fn read(refusal: &Refusal) -> Option<Self> {
        refusal
            .one_of([
                Self::Validation,
                Self::NotFound,
                Self::Exists,
                Self::Decommissioned,
                Self::SlotChanged,
            ])
            .or_else(|| query::read(refusal).map(Self::Query))
    }
}
