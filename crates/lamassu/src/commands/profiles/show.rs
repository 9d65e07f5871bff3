//! Profiles as people see them.

use anyhow::Result;
use lamassu_core::ca::{CaService as _, CryptoEnforcement, IssuanceProfile, NameConstraints};
use lamassu_core::usage::ExtendedKeyUsage;
use serde::Serialize;

use super::ListProfiles;
use crate::commands::Session;
use crate::commands::fields::PROFILE_FIELDS;
use crate::commands::listing::{self, Conditions};
use crate::commands::output::{Record, Shape};
use crate::commands::values::{duration, lifetime, subject};

const PROFILES: Shape<IssuanceProfile> = Shape {
    headings: &[
        "NAME",
        "VALIDITY",
        "ISSUES",
        "KEY USAGE",
        "EXTENDED KEY USAGE",
        "ID",
    ],
    row: |profile, _| {
        vec![
            profile.name.clone(),
            lifetime(&profile.validity),
            issues(profile).to_owned(),
            key_usage(profile),
            extended_key_usage(profile),
            profile.id.to_string(),
        ]
    },
    id: |profile| profile.id.to_string(),
};

fn issues(profile: &IssuanceProfile) -> &'static str {
    if profile.sign_as_ca {
        "CAs"
    } else {
        "end entities"
    }
}

const AS_REQUESTED: &str = "as requested";

fn key_usage(profile: &IssuanceProfile) -> String {
    if profile.honor_key_usage {
        return AS_REQUESTED.to_owned();
    }
    profile.key_usage.names().collect::<Vec<_>>().join(",")
}

fn extended_key_usage(profile: &IssuanceProfile) -> String {
    if profile.honor_extended_key_usages {
        return AS_REQUESTED.to_owned();
    }
    let named = profile.extended_key_usages.iter().copied();
    let named = named.map(|usage| ExtendedKeyUsage::name(usage).to_owned());
    let oids = profile.extended_key_usage_oids.value();
    let oids = oids.into_iter().flatten().cloned();
    named.chain(oids).collect::<Vec<_>>().join(",")
}

fn keys(enforcement: &CryptoEnforcement) -> String {
    if !enforcement.enabled {
        return "any".to_owned();
    }
    let mut allowed = Vec::new();
    for (name, is_allowed, sizes) in [
        (
            "rsa",
            enforcement.allow_rsa_keys,
            &enforcement.allowed_rsa_key_sizes,
        ),
        (
            "ecdsa",
            enforcement.allow_ecdsa_keys,
            &enforcement.allowed_ecdsa_key_sizes,
        ),
    ] {
        match sizes {
            _ if !is_allowed => {}
            None => allowed.push(format!("{name} of any size")),
            Some(sizes) => allowed.extend(sizes.iter().map(|bits| format!("{name}-{bits}"))),
        }
    }
    for (name, allowance) in [
        ("ed25519", enforcement.allow_ed25519_keys),
        ("ml-dsa", enforcement.allow_mldsa_keys),
    ] {
        if allowance.is_allowed() {
            allowed.push(name.to_owned());
        }
    }
    allowed.join(", ")
}

fn name_constraints(constraints: Option<&NameConstraints>) -> String {
    constraints.map(json).unwrap_or_default()
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn record(profile: &IssuanceProfile) -> Record {
    let subject = match profile.honor_subject {
        true => AS_REQUESTED.to_owned(),
        false => subject(&profile.subject),
    };
    let sans = profile.allowed_sans.value();
    let maximum = profile.maximum_validity.value();
    let path_length = profile.path_length.value();
    let back_dating = profile.back_dating.value();
    vec![
        ("id", profile.id.to_string()),
        ("name", profile.name.clone()),
        ("description", profile.description.clone()),
        ("validity", lifetime(&profile.validity)),
        ("issues", issues(profile).to_owned()),
        ("subject", subject),
        (
            "alternative names as requested",
            yes(profile.honor_extensions),
        ),
        ("key usage", key_usage(profile)),
        ("extended key usage", extended_key_usage(profile)),
        ("keys", keys(&profile.crypto_enforcement)),
        (
            "allowed alternative names",
            sans.map(json).unwrap_or_default(),
        ),
        (
            "common name pattern",
            profile
                .common_name_pattern
                .value()
                .cloned()
                .unwrap_or_default(),
        ),
        (
            "maximum validity",
            maximum.copied().map(duration).unwrap_or_default(),
        ),
        (
            "path length",
            path_length.map(ToString::to_string).unwrap_or_default(),
        ),
        (
            "name constraints",
            name_constraints(profile.name_constraints.value()),
        ),
        (
            "back-dating",
            back_dating.copied().map(duration).unwrap_or_default(),
        ),
    ]
}

/// Prints a profile.
pub(super) fn print(session: &Session, profile: &IssuanceProfile) -> Result<()> {
    session.print(profile, profile.id.as_str(), || record(profile))
}

pub(super) async fn list(session: &Session, asked: &ListProfiles) -> Result<()> {
    let conditions = Conditions::default().with("name[contains_ignorecase]", asked.name.as_deref());
    let request = asked.list.request(PROFILE_FIELDS, conditions)?;
    listing::print(session, &asked.list, request, &PROFILES, async |request| {
        Ok(session.ca.profiles(&session.caller, request).await?)
    })
    .await
}
