//! The services of other processes, behind the traits of `lamassu-core`: [`KmsClient`],
//! [`CaClient`], [`DeviceClient`], [`DmsClient`], [`VaClient`]. Whoever holds an
//! `Arc<dyn CaService>` does not know whether it is the service itself or its client.
//!
//! Each method is one request to the route that the service crates declare, under `/v1` where the
//! public API has it and under `/internal/v1` where only services ask. Refusals come back as the
//! variant that the service returned (`errors`); that nobody answered is a
//! [`StorageFailure`](lamassu_core::error::StorageFailure), which callers answer with 503.
//!
//! A [`Peer`] is one other process: connections, credentials, time-outs, and which requests are
//! repeated. Nothing that may have been executed is repeated unless the repeat has the same
//! answer; each method says which it is.
//!
//! Three clients are of no service of ours in particular: [`est`] enrolls at any server that speaks
//! EST, [`fetch`] gets what is published for everybody, such as CRLs and OCSP answers, and
//! [`Outbound`] calls what settings and certificates name, with credentials and within bounds.
//!
//! Where next: [`ClientConfig`], [`Credentials`], [`Peer`], [`Outbound`].

mod ca;
mod config;
mod credentials;
mod device;
mod device_group;
mod dms;
mod errors;
pub mod est;
pub mod fetch;
mod kms;
mod metrics;
mod outbound;
mod peer;
mod process;
mod profile_body;
mod refusal;
mod registry;
mod retry;
mod slots;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod transport;
mod va;

pub use ca::CaClient;
pub use config::{
    ApiKeyOptions, AuthMode, ClientConfig, ConfigError, JwtOptions, MtlsOptions, Protocol,
};
pub use credentials::{
    ApiKey, Authorization, BrowserAnswer, BrowserLogin, ClientCredentials, Credentials,
    CredentialsError, DeviceCode, FixedToken, LoginClient, LoginError, LoginProvider, LoginTokens,
    MintToken, NoAuth, ServiceToken, Wallet,
};
pub use device::DeviceClient;
pub use dms::DmsClient;
pub use kms::KmsClient;
pub use metrics::describe_metrics;
pub use outbound::{Outbound, OutboundAnswer, OutboundError};
pub use peer::{Peer, PeerError};
pub use process::{ProcessClient, Readiness, SignIn};
pub use refusal::UnexpectedAnswer;
pub use tls::TlsError;
pub use transport::WrongAddress;
pub use va::VaClient;
