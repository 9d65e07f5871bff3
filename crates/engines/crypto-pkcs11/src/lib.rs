//! The crypto engine that keeps keys in a token behind PKCS#11: an HSM, a smart card, SoftHSM.
//!
//! | Kind of key | Made by | Signs by | Announced when |
//! |---|---|---|---|
//! | RSA 2048, 3072, 4096, 8192 | `CKM_RSA_PKCS_KEY_PAIR_GEN` | `CKM_RSA_PKCS`, `CKM_RSA_PKCS_PSS` | the token has both of the first, for that size |
//! | ECDSA 224, 256, 384, 521 | `CKM_EC_KEY_PAIR_GEN` | `CKM_ECDSA` | as above |
//! | Ed25519 | `CKM_EC_EDWARDS_KEY_PAIR_GEN` | `CKM_EDDSA` | the token has both |
//!
//! Private keys are made in the token, sensitive and not extractable, and never leave it. Messages are
//! hashed here. A key is imported by `C_CreateObject`, or where the token refuses that, wrapped.
//!
//! **Threads.** Each session belongs to a thread of its own; no call blocks the runtime, each has a
//! deadline. **Loss.** A session that is lost is opened again, logged in again, and if that does not
//! help the module is finalized and initialised again, once nobody is inside, for all engines that
//! use it. A call that stays inside for ever cannot be taken back: then the engine is unavailable until
//! the process is started again. In each session a key is used only after its public half has been
//! compared with the one that was told first. **PIN.** One that was refused is not shown to the token
//! again before the next start: tokens lock themselves.
//!
//! Configuration, in the list of engines:
//!
//! ```yaml
//! - id: hsm-1
//!   type: pkcs11
//!   module_path: /usr/lib/softhsm/libsofthsm2.so
//!   token: lamassu
//!   pin_file: /run/secrets/hsm-pin
//!   sessions: 4
//!   call_timeout: 10s
//!   module_extra_options:
//!     env: {SOFTHSM2_CONF: /etc/lamassu/softhsm2.conf}
//!   metadata: {site: lab}
//! ```
//!
//! Where next: [`Pkcs11Engine`] and [`Modules`]; then `pool.rs` (threads, deadlines), `session.rs` and
//! `module.rs` (loss), `objects.rs` (how keys are named in the token), `import.rs`.

mod config;
mod engine;
mod error;
mod import;
mod module;
mod objects;
mod pool;
mod public_half;
mod session;
mod signing;
mod token;

pub use config::{ConfigError, ModuleExtraOptions, Pkcs11Config};
pub use engine::Pkcs11Engine;
pub use error::{ConnectError, Pkcs11Error};
pub use module::Modules;
