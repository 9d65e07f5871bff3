//! Permissions and built-in roles.
//!
//! A request needs one [`Permission`], written `area:action`; a principal has the union of what
//! its roles grant. Each route names its permission where it is declared; this file holds only
//! the vocabulary and the roles.

use std::fmt;

/// What a route needs: an area and an action, for example `ca:read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission {
    /// The resource: `ca`, `certificate`, `profile`, `kms`, `device`, `dms`, `est`, `va`,
    /// `internal`.
    pub area: &'static str,
    /// What is done with it.
    pub action: &'static str,
}

impl Permission {
    /// The permission `area:action`.
    pub const fn new(area: &'static str, action: &'static str) -> Self {
        Self { area, action }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.area, self.action)
    }
}

/// One grant of a role: `*` in either place means any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    area: &'static str,
    action: &'static str,
}

impl Grant {
    /// Whether this grant covers `permission`.
    ///
    /// `internal:*` is never covered by a wildcard area: what services need of each other is not
    /// for people, not even for administrators.
    pub fn covers(self, permission: Permission) -> bool {
        let area =
            self.area == permission.area || (self.area == "*" && permission.area != "internal");
        area && (self.action == "*" || self.action == permission.action)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.area, self.action)
    }
}

/// A built-in role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Reads everything.
    Auditor,
    /// Day-to-day work: issue, revoke, devices, binding.
    Operator,
    /// CAs, certificates, profiles, validation.
    CaManager,
    /// DMSs and devices.
    RaManager,
    /// Devices.
    DeviceManager,
    /// Keys.
    KmsManager,
    /// Reads events, manages its own subscriptions.
    AlertsUser,
    /// Another service of this installation; a gateway passes on what its callers may do.
    Service,
}

const fn grant(area: &'static str, action: &'static str) -> Grant {
    Grant { area, action }
}

impl Role {
    /// Every built-in role.
    pub const ALL: [Self; 9] = [
        Self::Admin,
        Self::Auditor,
        Self::Operator,
        Self::CaManager,
        Self::RaManager,
        Self::DeviceManager,
        Self::KmsManager,
        Self::AlertsUser,
        Self::Service,
    ];

    /// The name in tokens and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::CaManager => "ca-manager",
            Self::RaManager => "ra-manager",
            Self::DeviceManager => "device-manager",
            Self::KmsManager => "kms-manager",
            Self::AlertsUser => "alerts-user",
            Self::Service => "service",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What the role grants.
    pub const fn grants(self) -> &'static [Grant] {
        match self {
            Self::Admin => const { &[grant("*", "*")] },
            Self::Auditor => const { &[grant("*", "read")] },
            Self::Operator => {
                const {
                    &[
                        grant("*", "read"),
                        grant("ca", "sign"),
                        grant("certificate", "*"),
                        grant("device", "*"),
                        grant("dms", "bind"),
                        grant("dms", "approve"),
                        grant("alerts", "write"),
                    ]
                }
            }
            Self::CaManager => {
                const {
                    &[
                        grant("ca", "*"),
                        grant("certificate", "*"),
                        grant("profile", "*"),
                        grant("va", "*"),
                        grant("kms", "read"),
                        grant("kms", "use"),
                    ]
                }
            }
            Self::RaManager => {
                const {
                    &[
                        grant("dms", "*"),
                        grant("device", "*"),
                        grant("ca", "read"),
                        grant("certificate", "read"),
                        grant("profile", "read"),
                    ]
                }
            }
            Self::DeviceManager => {
                const {
                    &[
                        grant("device", "*"),
                        grant("dms", "read"),
                        grant("certificate", "read"),
                        grant("ca", "read"),
                    ]
                }
            }
            Self::KmsManager => const { &[grant("kms", "*"), grant("ca", "read")] },
            Self::AlertsUser => const { &[grant("alerts", "read")] },
            Self::Service => {
                const {
                    &[
                        grant("ca", "*"),
                        grant("certificate", "*"),
                        grant("profile", "*"),
                        grant("kms", "*"),
                        grant("device", "*"),
                        grant("dms", "*"),
                        grant("va", "*"),
                        grant("internal", "*"),
                    ]
                }
            }
        }
    }

    /// Whether the role grants `permission`.
    pub fn allows(self, permission: Permission) -> bool {
        self.grants().iter().any(|grant| grant.covers(permission))
    }
}

#[cfg(test)]
mod tests {
    use super::{Permission, Role};

    #[test]
    fn roles_grant_what_their_table_says() {
        let cases = [
            (Role::Admin, Permission::new("kms", "delete"), true),
            (Role::Admin, Permission::new("internal", "ca"), false),
            (Role::Auditor, Permission::new("ca", "read"), true),
            (Role::Auditor, Permission::new("ca", "sign"), false),
            (
                Role::KmsManager,
                Permission::new("certificate", "read"),
                false,
            ),
            (Role::Service, Permission::new("internal", "ca"), true),
        ];
        for (role, permission, expected) in cases {
            assert_eq!(
                role.allows(permission),
                expected,
                "{} {permission}",
                role.name()
            );
        }
    }

    #[test]
    fn role_names_read_back() {
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        assert_eq!(Role::from_name("root"), None);
    }
}
