//! The services of this program, by the names of paths and of the command line.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

/// Those that answer below `/api/<name>/`.
pub(crate) const MOUNTED: [&str; 5] = ["kms", "ca", "devmanager", "dmsmanager", "va"];

/// The gateway in front of them.
pub(crate) const GATEWAY: &str = "gateway";

/// The services that a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Services(BTreeSet<&'static str>);

impl Default for Services {
    fn default() -> Self {
        Self(all().collect())
    }
}

fn all() -> impl Iterator<Item = &'static str> + Clone {
    MOUNTED.into_iter().chain([GATEWAY])
}

impl Services {
    /// Those of these names; all where none is named.
    ///
    /// # Errors
    /// A name is no service's.
    pub(crate) fn named(names: &[String]) -> Result<Self> {
        let mut services = BTreeSet::new();
        let names = names.iter().map(|name| name.trim());
        let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Ok(Self::default());
        }
        for name in names {
            match all().find(|known| *known == name) {
                Some(service) => services.insert(service),
                None => bail!(
                    "there is no service {name:?}; there are {}",
                    all().collect::<Vec<_>>().join(", ")
                ),
            };
        }
        Ok(Self(services))
    }

    /// Whether this one runs here.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Whether all run here.
    pub(crate) fn is_all(&self) -> bool {
        self.0.len() == all().count()
    }

    /// Those that run here and answer below `/api`, in the order of their dependencies.
    pub(crate) fn mounted(&self) -> Vec<&'static str> {
        MOUNTED.into_iter().filter(|name| self.has(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Services;

    #[test]
    fn names_are_checked() {
        let named = |text: &str| {
            let names: Vec<_> = text.split_terminator(',').map(str::to_owned).collect();
            Services::named(&names).map_err(|error| error.to_string())
        };
        assert!(named("").is_ok_and(|services| services.is_all()));
        assert_eq!(
            named("va,kms,va").map(|services| services.mounted()),
            Ok(vec!["kms", "va"])
        );
        assert_eq!(
            named("ca,mail").unwrap_err(),
            "there is no service \"mail\"; there are kms, ca, devmanager, dmsmanager, va, gateway"
        );
    }
}
