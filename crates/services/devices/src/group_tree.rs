//! All groups at one moment, and what follows from where each stands. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamassu_core::device_group::{DeviceGroupError, Group, GroupDocument, InheritedCriterion};
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::Restriction;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::group_criteria::Rule;

/// Longest name, in characters.
const MAX_NAME_CHARS: usize = 255;

/// A group as stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredGroup {
    pub(crate) id: DeviceGroupId,
    /// What a client wrote, criteria in their usual form.
    pub(crate) document: GroupDocument,
    /// What the criteria mean.
    pub(crate) rules: Vec<Rule>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) revision: i64,
}

/// The groups as they were at one revision of all of them together.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupTree {
    /// Counts the changes of all groups.
    pub(crate) revision: i64,
    groups: BTreeMap<DeviceGroupId, Arc<StoredGroup>>,
    /// Ids by the group that they are right below, in order of creation.
    children: BTreeMap<Option<DeviceGroupId>, Vec<DeviceGroupId>>,
}

impl GroupTree {
    pub(crate) fn new(revision: i64, groups: impl IntoIterator<Item = Arc<StoredGroup>>) -> Self {
        let mut tree = Self {
            revision,
            ..Self::default()
        };
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        for group in groups {
            let parent = group.document.parent_id.clone();
            tree.children
                .entry(parent)
                .or_default()
                .push(group.id.clone());
            tree.groups.insert(group.id.clone(), group);
        }
        tree
    }

    /// The groups after one of them changed, or one is there more.
    pub(crate) fn with(&self, changed: StoredGroup) -> Self {
        let mut groups = self.groups.clone();
        groups.insert(changed.id.clone(), Arc::new(changed));
        Self::new(self.revision.saturating_add(1), groups.into_values())
    }

    /// The group of this id, however its UUID is written.
    pub(crate) fn get(&self, id: &DeviceGroupId) -> Option<&Arc<StoredGroup>> {
        self.groups.get(&canonical(id)?)
    }

    /// The group of this id.
    ///
    /// # Errors
    /// [`DeviceGroupError::NotFound`].
    pub(crate) fn find(&self, id: &DeviceGroupId) -> Result<&Arc<StoredGroup>, DeviceGroupError> {
        self.get(id).ok_or(DeviceGroupError::NotFound)
    }

    /// All groups, in no order that means something.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<StoredGroup>> {
        self.groups.values()
    }

    /// The groups right below, in order of creation; of `None` the roots.
    pub(crate) fn children(
        &self,
        id: Option<&DeviceGroupId>,
    ) -> impl Iterator<Item = &Arc<StoredGroup>> {
        let ids = self.children.get(&id.cloned()).into_iter().flatten();
        ids.filter_map(|id| self.groups.get(id))
    }

    /// The group and what is above it, root first.
    pub(crate) fn chain<'t>(&'t self, group: &'t StoredGroup) -> Vec<&'t StoredGroup> {
        let mut chain = vec![group];
        let mut parent = group.document.parent_id.as_ref();
        // No circle is ever stored; were there one, this still ends.
        while let Some(above) = parent.and_then(|id| self.groups.get(id))
            && chain.len() <= self.groups.len()
        {
            chain.push(above);
            parent = above.document.parent_id.as_ref();
        }
        chain.reverse();
        chain
    }

    /// These groups in the order in which their policies apply: the last one wins.
    pub(crate) fn ranked<'t>(&self, groups: &[&'t StoredGroup]) -> Vec<&'t StoredGroup> {
        let mut ranked = groups.to_vec();
        ranked.sort_by_cached_key(|group| {
            let depth = self.depth(group);
            let id = group.id.clone();
            (group.document.priority, depth, group.created_at, id)
        });
        ranked
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// How deep the group is; a root is at 1.
    pub(crate) fn depth(&self, group: &StoredGroup) -> u32 {
        u32::try_from(self.chain(group).len()).unwrap_or(u32::MAX)
    }

    /// All groups below, each after the one that it is right below.
    pub(crate) fn descendants(&self, id: &DeviceGroupId) -> Vec<&Arc<StoredGroup>> {
        let mut found: Vec<_> = self.children(Some(id)).collect();
        let mut next = 0;
        while let Some(group) = found.get(next).copied()
            && found.len() <= self.groups.len()
        {
            found.extend(self.children(Some(&group.id)));
            next += 1;
        }
        found
    }

    /// What a member fulfils, root first.
    pub(crate) fn rules<'t>(&'t self, group: &'t StoredGroup) -> impl Iterator<Item = &'t Rule> {
        let chain = self.chain(group).into_iter();
        chain.flat_map(|group| &group.rules)
    }

    /// The same for the queries of devices.
    pub(crate) fn restrictions(
        &self,
        group: &StoredGroup,
        now: OffsetDateTime,
    ) -> Vec<Restriction> {
        let rules = self.rules(group);
        rules
            .map(|rule| Restriction::Filter(rule.filter(now)))
            .collect()
    }

    /// Whether a group may become this: name, parent, depth.
    ///
    /// # Errors
    /// [`DeviceGroupError`].
    pub(crate) fn check(
        &self,
        group: &StoredGroup,
        max_depth: u32,
    ) -> Result<(), DeviceGroupError> {
        let StoredGroup { id, document, .. } = group;
        if document.name.is_empty() || document.name.chars().count() > MAX_NAME_CHARS {
            return Err(DeviceGroupError::Validation);
        }
        if let Some(parent) = &document.parent_id {
            if parent == id {
                return Err(DeviceGroupError::Circular);
            }
            self.find(parent)?;
            if self.descendants(id).iter().any(|below| below.id == *parent) {
                return Err(DeviceGroupError::Circular);
            }
        }
        let is_taken =
            |other: &Arc<StoredGroup>| other.id != *id && other.document.name == document.name;
        if self.all().any(is_taken) {
            return Err(DeviceGroupError::Exists);
        }
        let after = self.with(group.clone());
        let below = after.descendants(id);
        let deepest = below.iter().map(|below| after.depth(below)).max();
        if deepest.unwrap_or_else(|| after.depth(group)) > max_depth {
            return Err(DeviceGroupError::TooDeep(max_depth));
        }
        Ok(())
    }

    /// The group on the wire.
    pub(crate) fn show(&self, group: &StoredGroup) -> Group {
        let chain = self.chain(group);
        let above = chain.iter().filter(|above| above.id != group.id);
        let inherited = above.flat_map(|above| {
            above.rules.iter().map(|rule| {
                let criterion = rule.shown();
                InheritedCriterion {
                    field: criterion.field,
                    operand: criterion.operand,
                    value: criterion.value,
                    group_id: above.id.clone(),
                }
            })
        });
        Group {
            id: group.id.clone(),
            document: group.document.clone(),
            inherited_criteria: inherited.collect(),
            path: chain
                .iter()
                .map(|group| group.document.name.clone())
                .collect(),
            depth: u32::try_from(chain.len()).unwrap_or(u32::MAX),
            children_count: u32::try_from(self.children(Some(&group.id)).count())
                .unwrap_or(u32::MAX),
            created_at: group.created_at,
            updated_at: group.updated_at,
            revision: group.revision,
        }
    }
}

/// The id as it is stored; `None` for what is no UUID.
pub(crate) fn canonical(id: &DeviceGroupId) -> Option<DeviceGroupId> {
    let uuid = Uuid::parse_str(id.as_str()).ok()?;
    Some(DeviceGroupId::new(uuid.to_string()))
}
