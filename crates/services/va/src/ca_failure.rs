//! What a failure of the CA service means here.

use lamassu_core::ca::CaError;
use lamassu_core::error::{ErrorKind, ServiceError as _};
use lamassu_core::va::VaError;

/// What a failed call of the CA service means to the client.
pub(crate) fn no_ca_data(error: CaError) -> VaError {
    match error {
        CaError::Storage(failure) => VaError::Storage(failure),
        error if error.kind() == ErrorKind::Unavailable => VaError::Unavailable(Box::new(error)),
        error => VaError::CrlFailed(Box::new(error)),
    }
}
