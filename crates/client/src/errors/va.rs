use lamassu_core::va::{CrlFault, OptionsFault, VaError};

use super::query;
use crate::refusal::{Refusal, Reported, WireError};

impl WireError for VaError {
    fn read(refusal: &Refusal) -> Option<Self> {
        refusal
            .one_of([
                Self::RoleNotFound,
                Self::CaNotFound,
                Self::CrlNotFound(None),
                Self::CrlsMadeHere,
                Self::CrlOutdated,
                Self::CrlFailed(Box::new(Reported)),
                Self::Unavailable(Box::new(Reported)),
            ])
            .or_else(|| refusal.one_of(OptionsFault::ALL.map(Self::Options)))
            .or_else(|| refusal.one_of(CrlFault::ALL.map(Self::CrlRefused)))
            .or_else(|| query::read(refusal).map(Self::Query))
    }
}
