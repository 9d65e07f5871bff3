//! Policies of groups: reading them, and what several come to. Pure.
//!
//! A group's document stays as it was written, because `null` in it means something: what is inherited
//! does not apply. Along a chain documents are merged by RFC 7396, root first. A device that is in
//! several groups has their chains merged one after the other, in the order of [`GroupTree::ranked`];
//! metadata schemas and required tags of all levels apply.

use std::collections::BTreeMap;

use lamassu_core::device::slot::SupersededPolicy;
use lamassu_core::device_group::{
    DeviceGroupError, DevicePolicies, EffectivePolicies, GroupPolicies, GroupRule, PolicyMode,
    PolicySource, RenewalPolicy, SchemaPolicy, SlotDefaults, TagsPolicy,
};
use lamassu_core::duration::WireDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::group_member::groups_of;
use crate::group_schema::check_schema;
use crate::group_tree::{GroupTree, StoredGroup};
use crate::store::{Slot, StoredDevice};

const RENEWAL: &str = "renewal";
const SLOTS: &str = "slots";
const SCHEMA: &str = "metadata_schema";
const TAGS: &str = "required_tags";
const CUSTOM: &str = "custom";

/// Longest document, as JSON.
const MAX_BYTES: usize = 256 * 1024;

/// Most required tags of a group.
const MAX_TAGS: usize = 64;

/// Checks a document of policies.
///
/// # Errors
/// [`DeviceGroupError::Policy`] says which member is wrong.
pub(crate) fn check(policies: &Map<String, Value>) -> Result<(), DeviceGroupError> {
    if Value::Object(policies.clone()).to_string().len() > MAX_BYTES {
        return Err(refused("policies", "longer than 256 KiB"));
    }
    for (name, value) in policies {
        if value.is_null() {
            continue;
        }
        match name.as_str() {
            RENEWAL => {
                known(name, value, &["preventive_delta", "critical_delta"])?;
                let RenewalPolicy {
                    preventive_delta,
                    critical_delta,
                } = read(name, value)?;
                not_negative(name, [preventive_delta, critical_delta])?;
            }
            SLOTS => {
                let members = ["overlap", "revoke_superseded", "max_versions"];
                known(name, value, &members)?;
                let slots: SlotDefaults = read(name, value)?;
                not_negative(name, [slots.superseded.overlap])?;
            }
            SCHEMA => {
                known(name, value, &["schema", "mode"])?;
                let policy: SchemaPolicy = read(name, value)?;
                check_schema(&policy.schema).map_err(|reason| refused(name, &reason))?;
            }
            TAGS => {
                if value.is_object() {
                    known(name, value, &["tags", "mode"])?;
                }
                let policy = tags_policy(value).ok_or_else(|| refused(name, "no list of tags"))?;
                if policy.tags.len() > MAX_TAGS || policy.tags.iter().any(String::is_empty) {
                    return Err(refused(name, "empty or too many tags"));
                }
            }
            CUSTOM if value.is_object() => {}
            CUSTOM => return Err(refused(name, "no object")),
            other => return Err(refused(other, "there is no such policy")),
        }
    }
    Ok(())
}

fn refused(name: &str, reason: &str) -> DeviceGroupError {
    DeviceGroupError::Policy {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}

fn known(name: &str, value: &Value, members: &[&str]) -> Result<(), DeviceGroupError> {
    let object = value.as_object();
    let object = object.ok_or_else(|| refused(name, "no object"))?;
    let unknown = object.keys().find(|key| !members.contains(&key.as_str()));
    unknown.map_or(Ok(()), |key| {
        Err(refused(name, &format!("unknown member '{key}'")))
    })
}

fn read<T: DeserializeOwned>(name: &str, value: &Value) -> Result<T, DeviceGroupError> {
    T::deserialize(value).map_err(|error| refused(name, &error.to_string()))
}

fn not_negative(
    name: &str,
    durations: impl IntoIterator<Item = Option<WireDuration>>,
) -> Result<(), DeviceGroupError> {
    let mut durations = durations.into_iter().flatten();
    match durations.find(|duration| duration.is_negative()) {
        Some(_) => Err(refused(name, "a duration is negative")),
        None => Ok(()),
    }
}

/// A list of tags, or an object with one and a mode.
fn tags_policy(value: &Value) -> Option<TagsPolicy> {
    if value.is_array() {
        let tags = serde_json::from_value(value.clone()).ok()?;
        return Some(TagsPolicy {
            tags,
            mode: PolicyMode::default(),
        });
    }
    serde_json::from_value(value.clone()).ok()
}

/// Policies under construction: of a group, or of a device.
#[derive(Debug, Default)]
struct Merged {
    /// `renewal`, `slots` and `custom`.
    members: Map<String, Value>,
    /// Whose each leaf of them is, by JSON pointer.
    sources: BTreeMap<String, PolicySource>,
    schemas: Vec<GroupRule<SchemaPolicy>>,
    tags: Vec<GroupRule<TagsPolicy>>,
}

impl Merged {
    /// Applies the documents of a chain, root first.
    fn apply(&mut self, chain: &[&StoredGroup]) {
        for (level, group) in chain.iter().enumerate() {
            let above = chain.get(..level).unwrap_or_default();
            for (name, value) in &group.document.policies {
                match name.as_str() {
                    SCHEMA => {
                        let rule = SchemaPolicy::deserialize(value).ok();
                        add_rule(&mut self.schemas, above, group, rule);
                    }
                    TAGS => add_rule(&mut self.tags, above, group, tags_policy(value)),
                    _ => self.merge(name, value, group),
                }
            }
        }
    }

    fn merge(&mut self, name: &str, value: &Value, group: &StoredGroup) {
        let source = PolicySource {
            group_id: group.id.clone(),
            group_name: group.document.name.clone(),
        };
        let pointer = format!("/{}", escaped(name));
        if value.is_null() {
            self.members.remove(name);
        } else {
            let target = self.members.entry(name).or_insert(Value::Null);
            json_patch::merge(target, value);
        }
        note_sources(&mut self.sources, &pointer, value, &source);
    }

    fn effective(&self) -> EffectivePolicies {
        fn member<T: DeserializeOwned>(members: &Map<String, Value>, name: &str) -> Option<T> {
            T::deserialize(members.get(name)?).ok()
        }
        EffectivePolicies {
            renewal: member(&self.members, RENEWAL),
            slots: member(&self.members, SLOTS),
            metadata_schema: self.schemas.clone(),
            required_tags: self.tags.clone(),
            custom: member(&self.members, CUSTOM),
        }
    }
}

/// A level's rule comes to those of the others; explicit `null` drops what is inherited.
fn add_rule<T>(
    rules: &mut Vec<GroupRule<T>>,
    above: &[&StoredGroup],
    group: &StoredGroup,
    rule: Option<T>,
) {
    rules.retain(|known| known.group_id != group.id);
    match rule {
        Some(rule) => rules.push(GroupRule {
            group_id: group.id.clone(),
            rule,
        }),
        None => rules.retain(|known| !above.iter().any(|group| group.id == known.group_id)),
    }
}

/// Whoever writes a leaf is its source; what an object takes the place of, or `null` removes, has none.
fn note_sources(
    sources: &mut BTreeMap<String, PolicySource>,
    pointer: &str,
    value: &Value,
    source: &PolicySource,
) {
    if let Value::Object(members) = value {
        sources.remove(pointer);
        for (name, value) in members {
            let pointer = format!("{pointer}/{}", escaped(name));
            note_sources(sources, &pointer, value, source);
        }
        return;
    }
    let below = format!("{pointer}/");
    sources.retain(|known, _| known != pointer && !known.starts_with(&below));
    if !value.is_null() {
        sources.insert(pointer.to_owned(), source.clone());
    }
}

/// A name as a step of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The policies of a group.
pub(crate) fn of_group(tree: &GroupTree, group: &StoredGroup) -> GroupPolicies {
    let chain = tree.chain(group);
    let above = chain.split_last().map_or(&[][..], |(_, above)| above);
    let come_to = |chain: &[&StoredGroup]| {
        let mut merged = Merged::default();
        merged.apply(chain);
        merged.effective()
    };
    GroupPolicies {
        own: group.document.policies.clone(),
        inherited: come_to(above),
        effective: come_to(&chain),
    }
}

/// The policies of a device that is in these groups.
pub(crate) fn of_device(tree: &GroupTree, groups: &[&StoredGroup]) -> DevicePolicies {
    let mut merged = Merged::default();
    for group in tree.ranked(groups) {
        merged.apply(&tree.chain(group));
    }
    DevicePolicies {
        effective: merged.effective(),
        sources: merged.sources,
    }
}

/// What becomes of versions of a slot that are replaced: as it says itself, else the groups of its device.
pub(crate) fn superseded_policy(slot: Option<&Slot>, groups: &SlotDefaults) -> SupersededPolicy {
    let own = slot.map(|slot| &slot.policy);
    let of_groups = groups.superseded;
    SupersededPolicy {
        overlap: own.and_then(|own| own.overlap).or(of_groups.overlap),
        revoke_superseded: own
            .and_then(|own| own.revoke_superseded)
            .or(of_groups.revoke_superseded),
    }
}

/// Whether the group says anything about renewal.
pub(crate) fn has_renewal(group: &StoredGroup) -> bool {
    group.document.policies.contains_key(RENEWAL)
}

/// Whether the group has rules for what is written of its members.
pub(crate) fn has_rules(group: &StoredGroup) -> bool {
    let policies = &group.document.policies;
    policies.contains_key(SCHEMA) || policies.contains_key(TAGS)
}

/// Whether the group says anything about slots.
pub(crate) fn has_slots(group: &StoredGroup) -> bool {
    group.document.policies.contains_key(SLOTS)
}

/// What the groups of a device say of its slots.
pub(crate) fn slot_defaults(
    tree: &GroupTree,
    device: &StoredDevice,
    now: OffsetDateTime,
) -> SlotDefaults {
    if !tree.all().any(|group| has_slots(group)) {
        return SlotDefaults::default();
    }
    let slots = of_device(tree, &groups_of(tree, device, now))
        .effective
        .slots;
    slots.unwrap_or_default()
}
