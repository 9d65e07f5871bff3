//! The crypto engine that keeps keys in memory, and the generator of keys that engines share.
//!
//! [`SoftwareEngine`] is for tests and for keys that may die with the process: nothing is
//! written, a restart begins empty. [`KeyGenerator`] makes keys in memory without letting the
//! slow kinds take over the machine; engines that store keys elsewhere use it, too. [`SlowKeys`] are its
//! bounds, for engines whose keys are made elsewhere.
//!
//! Configuration, in the list of engines:
//!
//! ```yaml
//! - id: volatile-1
//!   type: software
//!   metadata: {purpose: tests}
//! ```

mod config;
mod engine;
mod generator;
mod slow_keys;

pub use config::SoftwareConfig;
pub use engine::SoftwareEngine;
pub use generator::KeyGenerator;
pub use slow_keys::{Leave, SlowKeys};
