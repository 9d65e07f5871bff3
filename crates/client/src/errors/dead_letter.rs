use lamassu_core::dead_letter::DeadLetterError;

use crate::refusal::{Refusal, WireError};

impl WireError for DeadLetterError {
    fn read(refusal: &Refusal) -> Option<Self> {
        refusal.one_of([Self::NotFound])
    }
}
