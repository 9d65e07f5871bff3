//! What this program is.

/// The program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision, given at build time by `LAMASSU_BUILD`; empty when unknown.
pub(crate) const BUILD: &str = match option_env!("LAMASSU_BUILD") {
    Some(build) => build,
    None => "",
};

/// When its source was committed, RFC 3339, given at build time by `LAMASSU_BUILD_TIME`; empty when unknown.
pub(crate) const BUILD_TIME: &str = match option_env!("LAMASSU_BUILD_TIME") {
    Some(time) => time,
    None => "",
};
