//! Which services of other processes one needs, and whether the configuration says where they are.

use anyhow::{Result, bail};

use super::Config;
use crate::services::GATEWAY;

/// A service, the block that says where it is, and who needs it.
const NEEDED: [(&str, &str, &[&str]); 5] = [
    ("kms", "kms_client", &["ca", "va", GATEWAY]),
    ("ca", "ca_client", &["dmsmanager", "va", GATEWAY]),
    (
        "devmanager",
        "device_manager_client",
        &["dmsmanager", GATEWAY],
    ),
    ("dmsmanager", "dms_manager_client", &[GATEWAY]),
    ("va", "va_client", &[GATEWAY]),
];

/// Checks that it is said where every service is that does not run here and is needed.
///
/// # Errors
/// Every block that is missing, and who needs it.
pub(super) fn check(config: &Config) -> Result<()> {
    let mut problems = Vec::new();
    let mut example = None;
    for (service, block, users) in NEEDED {
        let here = |name: &&str| config.services.has(name);
        let users: Vec<_> = users.iter().copied().filter(here).collect();
        if here(&service) || users.is_empty() || !is_silent(config, block) {
            continue;
        }
        example.get_or_insert(block);
        problems.push(format!(
            "{block}.hostname is missing: {service} does not run in this process and is needed by {}",
            users.join(" and ")
        ));
    }
    match example {
        None => Ok(()),
        Some(block) => bail!(
            "{}; say where it is, for example \
             `{block}: {{protocol: http, hostname: 10.0.0.5, port: 8085}}`",
            problems.join("; ")
        ),
    }
}

fn is_silent(config: &Config, block: &str) -> bool {
    let mut clients = config.clients().into_iter();
    clients.any(|(name, client)| name == block && client.hostname.is_empty())
}
