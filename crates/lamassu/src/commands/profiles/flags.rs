//! A profile out of a file and flags.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use lamassu_core::ca::{AllowedSan, IssuanceProfile, SanType};
use lamassu_core::duration::WireDuration;
use serde_json::{Value, json};

use crate::commands::members::{self, Members};
use crate::commands::values::{KeyType, Lifetime, SubjectArg};

/// The members of a profile.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ProfileArgs {
    /// Members of the profile as the API has them, JSON or YAML; - is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What it is called.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// How long certificates are valid, for example 90d, or until when.
    #[arg(long, value_name = "DURATION|TIME")]
    validity: Option<Lifetime>,
    /// Whether what is issued is a CA.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sign_as_ca: Option<bool>,
    /// Whether the request's subject is taken over.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    honor_subject: Option<bool>,
    /// Whether the request's subject alternative names are taken over.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    honor_extensions: Option<bool>,
    /// Whether the request's key usage is taken over.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    honor_key_usage: Option<bool>,
    /// Whether the request's extended key usages are taken over.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    honor_extended_key_usages: Option<bool>,
    /// Subject of every certificate, without common name that of the request is in it.
    #[arg(long, value_name = "NAME")]
    subject: Option<SubjectArg>,
    /// Key usages, for example DigitalSignature,KeyEncipherment.
    #[arg(long, value_name = "a,b,…", value_delimiter = ',')]
    key_usage: Option<Vec<String>>,
    /// Extended key usages, for example ClientAuth,ServerAuth or object identifiers.
    #[arg(long, value_name = "a,b,…", value_delimiter = ',')]
    extended_key_usage: Option<Vec<String>>,
    #[command(flatten)]
    constraints: ConstraintArgs,
    /// Take this constraint away, by the API's name, for example path_length; repeatable.
    #[arg(long, value_name = "MEMBER")]
    clear: Vec<String>,
}

/// What certificates of a profile may not be.
#[derive(Clone, Debug, Default, Args)]
struct ConstraintArgs {
    /// Only keys of these kinds, for example rsa-3072,ecdsa-256,ed25519; `any` takes the limit away.
    #[arg(long, value_name = "a,b,…", value_delimiter = ',', value_parser = allowed_key)]
    allow_key: Option<Vec<AllowedKey>>,
    /// Only alternative names of this form (DNS, IP, Email, URI, DirectoryName), those that match a
    /// regular expression as a whole if one is given; repeatable.
    #[arg(long, value_name = "FORM[=REGEX]", value_parser = allowed_san)]
    allow_san: Vec<AllowedSan>,
    /// What the common name must match as a whole, a regular expression.
    #[arg(long, value_name = "REGEX")]
    common_name_pattern: Option<String>,
    /// How long a certificate is valid at most.
    #[arg(long, value_name = "DURATION")]
    maximum_validity: Option<WireDuration>,
    /// How many CAs may follow below a CA.
    #[arg(long, value_name = "N")]
    path_length: Option<u32>,
    /// How far before the present a certificate begins, for devices whose clocks are slow.
    #[arg(long, value_name = "DURATION")]
    back_dating: Option<WireDuration>,
}

/// Keys that pass.
#[derive(Clone, Debug)]
enum AllowedKey {
    Any,
    Kind(KeyType),
}

fn allowed_key(text: &str) -> Result<AllowedKey, String> {
    if text == "any" {
        return Ok(AllowedKey::Any);
    }
    text.parse().map(AllowedKey::Kind)
}

/// Members that a profile can do without.
const CLEARABLE: [&str; 7] = [
    "allowed_sans",
    "common_name_pattern",
    "maximum_validity",
    "path_length",
    "name_constraints",
    "extended_key_usage_oids",
    "back_dating",
];

impl ProfileArgs {
    /// `stored` with what the file and the flags say.
    ///
    /// # Errors
    /// A member is none, or has a value that it cannot have.
    pub(super) fn applied(&self, stored: &IssuanceProfile) -> Result<IssuanceProfile> {
        members::applied("profile", stored, self.file.as_deref(), self.members()?)
    }

    fn members(&self) -> Result<Members> {
        let mut members = Members::default();
        members.put("name", self.name.as_ref());
        members.put("description", self.description.as_ref());
        members.put("validity", self.validity.as_ref().map(|Lifetime(it)| it));
        members.put("sign_as_ca", self.sign_as_ca);
        members.put("honor_subject", self.honor_subject);
        members.put("honor_extensions", self.honor_extensions);
        members.put("honor_key_usage", self.honor_key_usage);
        members.put("honor_extended_key_usages", self.honor_extended_key_usages);
        members.put("subject", self.subject.as_ref().map(|SubjectArg(it)| it));
        members.put("key_usage", self.key_usage.as_ref());
        if let Some(usages) = &self.extended_key_usage {
            let (oids, names): (Vec<_>, Vec<_>) = usages
                .iter()
                .partition(|usage| usage.starts_with(|c: char| c.is_ascii_digit()));
            members.put("extended_key_usages", Some(names));
            members.put(
                "extended_key_usage_oids",
                (!oids.is_empty()).then_some(oids),
            );
        }
        self.constraints.add_to(&mut members);
        for name in &self.clear {
            if !CLEARABLE.contains(&name.as_str()) {
                bail!("{name:?} cannot be cleared; {} can", CLEARABLE.join(", "));
            }
            members.put(name, Some(Value::Null));
        }
        Ok(members)
    }
}

impl ConstraintArgs {
    fn add_to(&self, members: &mut Members) {
        let enforcement = self.allow_key.as_deref().map(enforcement);
        members.put("crypto_enforcement", enforcement);
        members.put(
            "allowed_sans",
            (!self.allow_san.is_empty()).then_some(&self.allow_san),
        );
        members.put("common_name_pattern", self.common_name_pattern.as_ref());
        members.put("maximum_validity", self.maximum_validity);
        members.put("path_length", self.path_length);
        members.put("back_dating", self.back_dating);
    }
}

fn allowed_san(text: &str) -> Result<AllowedSan, String> {
    let (form, pattern) = match text.split_once('=') {
        Some((form, pattern)) => (form, Some(pattern.to_owned())),
        None => (text, None),
    };
    let known = SanType::ALL
        .iter()
        .find(|known| known.name().eq_ignore_ascii_case(form));
    let san_type = known.ok_or_else(|| format!("the forms are {}", SanType::NAMES.join(", ")))?;
    Ok(AllowedSan {
        san_type: *san_type,
        pattern,
    })
}

/// Exactly these kinds of keys.
fn enforcement(allowed: &[AllowedKey]) -> Value {
    let kinds = || {
        allowed.iter().filter_map(|key| match key {
            AllowedKey::Kind(kind) => Some(kind),
            AllowedKey::Any => None,
        })
    };
    let sizes = |name: &str| -> Vec<u32> {
        let of_name = kinds().filter(|kind| kind.name == name);
        of_name.map(|kind| kind.bits).collect()
    };
    let (rsa, ecdsa) = (sizes("RSA"), sizes("ECDSA"));
    json!({
        "enabled": kinds().count() == allowed.len(),
        "allow_rsa_keys": !rsa.is_empty(),
        "allowed_rsa_key_sizes": rsa,
        "allow_ecdsa_keys": !ecdsa.is_empty(),
        "allowed_ecdsa_key_sizes": ecdsa,
        "allow_ed25519_keys": !sizes("Ed25519").is_empty(),
        "allow_mldsa_keys": !sizes("ML-DSA").is_empty(),
    })
}
