//! Whether what is written of a device keeps the policies of its groups.
//!
//! The groups are those of the device as it will be. What v2 writes is refused where a policy is enforced;
//! what v1 writes is only told to the log, because its clients know no such refusal.

use lamassu_core::device::RegistryError;
use lamassu_core::device_group::PolicyMode;
use lamassu_core::error::{ErrorDetail, StorageFailure};

use crate::group_policy::has_rules;
use crate::group_read::policies;
use crate::group_schema::violations;
use crate::group_tree::GroupTree;
use crate::service::DevicesService;
use crate::store::StoredDevice;

/// A policy that is broken.
struct Broken {
    group: lamassu_core::ids::DeviceGroupId,
    mode: PolicyMode,
    details: Vec<ErrorDetail>,
}

impl DevicesService {
    /// The warnings about a device that will be stored like this.
    ///
    /// # Errors
    /// [`RegistryError::PolicyBroken`] for the first policy that is enforced and broken.
    pub(crate) async fn check_policies(
        &self,
        after: &StoredDevice,
    ) -> Result<Vec<String>, RegistryError> {
        let tree = self.tree().await?;
        let mut warnings = Vec::new();
        for broken in broken(&tree, after, self.db.now()) {
            match broken.mode {
                PolicyMode::Enforce => {
                    return Err(RegistryError::PolicyBroken(broken.group, broken.details));
                }
                PolicyMode::Warn => warnings.extend(broken.texts()),
            }
        }
        Ok(warnings)
    }

    /// Tells the log what is broken by a device that is written as v1 does.
    pub(crate) async fn warn_of_policies(
        &self,
        after: &StoredDevice,
    ) -> Result<(), StorageFailure> {
        let tree = self.tree().await?;
        for broken in broken(&tree, after, self.db.now()) {
            tracing::warn!(
                device_id = %after.device.id,
                group_id = %broken.group,
                broken = ?broken.details,
                "policy of a device group broken"
            );
        }
        Ok(())
    }
}

impl Broken {
    fn texts(&self) -> impl Iterator<Item = String> {
        self.details.iter().map(|detail| {
            let ErrorDetail { field, reason } = detail;
            format!("{field}: {reason} (device group {})", self.group)
        })
    }
}

fn broken(tree: &GroupTree, after: &StoredDevice, now: time::OffsetDateTime) -> Vec<Broken> {
    if !tree.all().any(|group| has_rules(group)) {
        return Vec::new();
    }
    let effective = policies(tree, after, now).effective;
    let device = &after.device;
    let schemas = effective.metadata_schema.into_iter().map(|schema| Broken {
        group: schema.group_id,
        mode: schema.rule.mode,
        details: violations(&schema.rule.schema, &device.metadata),
    });
    let tags = effective.required_tags.into_iter().map(|tags| {
        let missing = tags.rule.tags.iter();
        let missing = missing.filter(|tag| !device.tags.contains(tag));
        Broken {
            group: tags.group_id,
            mode: tags.rule.mode,
            details: missing
                .map(|tag| ErrorDetail::new("/tags", format!("'{tag}' is required")))
                .collect(),
        }
    });
    schemas
        .chain(tags)
        .filter(|broken| !broken.details.is_empty())
        .collect()
}
