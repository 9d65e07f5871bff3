use lamassu_core::va::VaError;

use super::query;
use crate::refusal::{Refusal, Reported, WireError};

impl WireError for VaError {
    fn read(refusal: &Refusal) -> Option<Self> {
        refusal
            .one_of([
                Self::RoleNotFound,
                Self::CaNotFound,
                Self::CrlNotFound(None),
                Self::CrlFailed(Box::new(Reported)),
                Self::Unavailable(Box::new(Reported)),
            ])
            .or_else(|| query::read(refusal).map(Self::Query))
    }
}
