//! The services of this program, by the names of paths and of the command line.

/// Those that answer below `/api/<name>/`.
pub(crate) const MOUNTED: [&str; 5] = ["kms", "ca", "devmanager", "dmsmanager", "va"];

/// All: those, and the gateway in front of them.
pub(crate) fn all() -> impl Iterator<Item = &'static str> + Clone {
    MOUNTED.into_iter().chain(["gateway"])
}
