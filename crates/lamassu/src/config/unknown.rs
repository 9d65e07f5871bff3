//! Keys that nobody reads, and what was probably meant: a key of the same block that is spelt
//! alike or begins alike, or the same key in the block where it is one.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use figment::value::Value;
use figment::{Figment, Profile, Provider as _};
use lamassu_auth::ProviderConfig;
use serde_json::Value as Json;

use super::{Config, first_error, warn};

/// Keys that are read and never written, since they hold secrets or more.
const NEVER_WRITTEN: [(&str, &str); 19] = [
    ("", "crypto_engines"),
    ("filesystem_storage", "id"),
    ("filesystem_storage", "metadata"),
    ("storage", "password"),
    ("kms_client.jwt_options", "oidc_client_secret"),
    ("kms_client.mtls_options", "key_file"),
    ("kms_client.apikey_options", "key"),
    ("ca_client.jwt_options", "oidc_client_secret"),
    ("ca_client.mtls_options", "key_file"),
    ("ca_client.apikey_options", "key"),
    ("device_manager_client.jwt_options", "oidc_client_secret"),
    ("device_manager_client.mtls_options", "key_file"),
    ("device_manager_client.apikey_options", "key"),
    ("dms_manager_client.jwt_options", "oidc_client_secret"),
    ("dms_manager_client.mtls_options", "key_file"),
    ("dms_manager_client.apikey_options", "key"),
    ("va_client.jwt_options", "oidc_client_secret"),
    ("va_client.mtls_options", "key_file"),
    ("va_client.apikey_options", "key"),
];

/// Most keys that one hint names.
const MAX_NAMED: usize = 3;

/// A block whose keys are those of two structs: serde passes over what neither of them has.
const OF_TWO_STRUCTS: &str = "filesystem_storage";

/// Says which keys nobody reads, and what was probably meant; gives how many there are.
///
/// # Errors
/// What is given cannot be read; under `strict` also the unknown keys.
pub(super) fn report(given: &Figment, defaults: &Config, strict: bool) -> Result<usize> {
    let mut unknown = Vec::new();
    let data = given
        .data()
        .map_err(|error| first_error(&error))?
        .remove(&Profile::Default);
    let value = Value::from(data.unwrap_or_default());
    let read: Result<Config, _> =
        serde_ignored::deserialize(&value, |path| unknown.push(path.to_string()));
    read.map_err(|error| first_error(&error))?;
    // Read where it was moved to.
    let is_moved = |path: &str| {
        let below_server = path.strip_prefix("server.authentication.");
        path == "gateway.authentication"
            || below_server.is_some_and(|key| !key.starts_with("mutual_tls"))
    };
    unknown.retain(|path| !is_moved(path));
    let known = KnownKeys::of(defaults)?;
    if let Ok(Value::Dict(_, block)) = given.find_value(OF_TWO_STRUCTS) {
        let paths = block.keys().map(|key| format!("{OF_TWO_STRUCTS}.{key}"));
        unknown.extend(paths.filter(|path| !known.has(path)));
    }
    let told = unknown.iter().map(|path| {
        let hint = known.hint(path);
        format!("unknown configuration key {path}{hint}")
    });
    let told: Vec<_> = told.collect();
    ensure!(!strict || told.is_empty(), "{}", told.join("; "));
    for unknown in &told {
        warn(&format!("{unknown} ignored"));
    }
    Ok(told.len())
}

/// Every key that there is, as a path of words.
#[derive(Debug)]
struct KnownKeys(BTreeSet<Vec<String>>);

impl KnownKeys {
    fn of(defaults: &Config) -> Result<Self> {
        let mut complete = defaults.clone();
        // Lists are empty by default; this one's items have keys.
        complete
            .authentication
            .jwt
            .providers
            .push(ProviderConfig::default());
        let mut known = Self(BTreeSet::new());
        known.collect(&serde_json::to_value(complete)?, &mut Vec::new());
        for (block, key) in NEVER_WRITTEN {
            let block = block.split('.').filter(|word| !word.is_empty());
            known
                .0
                .insert(block.chain([key]).map(str::to_owned).collect());
        }
        Ok(known)
    }

    fn collect(&mut self, value: &Json, path: &mut Vec<String>) {
        match value {
            Json::Object(members) => {
                for (name, member) in members {
                    path.push(name.clone());
                    self.0.insert(path.clone());
                    self.collect(member, path);
                    path.pop();
                }
            }
            // Items of a list are alike.
            Json::Array(items) => {
                if let Some(first) = items.first() {
                    path.push("0".to_owned());
                    self.collect(first, path);
                    path.pop();
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    fn has(&self, path: &str) -> bool {
        let words: Vec<_> = path.split('.').map(str::to_owned).collect();
        self.0.contains(&words)
    }

    /// What was probably meant by an unknown key, in brackets; nothing where nobody can tell.
    fn hint(&self, unknown: &str) -> String {
        // An optional block is a question mark in the path.
        let path: Vec<_> = unknown.split('.').filter(|word| *word != "?").collect();
        let Some((name, block)) = path.split_last() else {
            return String::new();
        };
        let beside = self.nearest(block, name).map(|known| {
            let words = block.iter().copied().chain([known]);
            words.collect::<Vec<_>>().join(".")
        });
        let mut meant: Vec<_> = beside.into_iter().chain(self.elsewhere(name)).collect();
        meant.truncate(MAX_NAMED);
        match meant.split_last() {
            None => String::new(),
            Some((only, [])) => format!(" (did you mean {only}?)"),
            Some((last, others)) => format!(" (did you mean {} or {last}?)", others.join(", ")),
        }
    }

    /// The key of a block that is spelt most like this name.
    fn nearest(&self, block: &[&str], name: &str) -> Option<&str> {
        let beside = self.0.iter().filter_map(|known| {
            let (last, parents) = known.split_last()?;
            is_same_block(parents, block).then_some(last.as_str())
        });
        let near = beside.filter_map(|known| Some((distance(known, name)?, known)));
        near.min().map(|(_, known)| known)
    }

    /// Where else a key has this very name.
    fn elsewhere<'k>(&'k self, name: &'k str) -> impl Iterator<Item = String> + 'k {
        let same = self.0.iter().filter(move |known| {
            let in_list = known.iter().any(|word| word == "0");
            !in_list && known.last().is_some_and(|last| last == name)
        });
        same.map(|known| known.join("."))
    }
}

/// Whether two paths lead to the same block, or to items of the same list.
fn is_same_block(known: &[String], given: &[&str]) -> bool {
    let is_index = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    known.len() == given.len()
        && known
            .iter()
            .zip(given)
            .all(|(known, given)| known == given || (is_index(known) && is_index(given)))
}

/// How far a name is from a known one: none if it is hardly meant. Short names differ in a letter,
/// longer ones in a third of them; what begins alike (`host`, `hostname`) is near.
fn distance(known: &str, name: &str) -> Option<usize> {
    let begins_alike = name.len() >= 3 && (known.starts_with(name) || name.starts_with(known));
    if begins_alike && known.len() >= 3 {
        return Some(1);
    }
    let distance = strsim::damerau_levenshtein(known, name);
    (distance <= (name.chars().count() / 3).clamp(1, 3)).then_some(distance)
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::Format as _;

    use super::{KnownKeys, NEVER_WRITTEN};
    use crate::config::Config;

    fn hint(unknown: &str) -> String {
        KnownKeys::of(&Config::embedded()).unwrap().hint(unknown)
    }

    #[test]
    fn a_misspelt_key_is_recognised_beside_its_like() {
        for (unknown, meant) in [
            ("gatway", "gateway"),
            ("est.defualt_dms", "est.default_dms"),
            ("storage.host", "storage.hostname"),
            ("storage.user", "storage.username"),
            ("storage.pasword", "storage.password"),
            ("storage.ssl_mode", "storage.sslmode"),
            ("gateway.tls.cert_fil", "gateway.tls.cert_file"),
            ("ca_client.jwt_options.oidc_secret", ""),
            (
                "authentication.jwt.providers.3.isuer",
                "authentication.jwt.providers.3.issuer",
            ),
        ] {
            let expected = match meant {
                "" => String::new(),
                meant => format!(" (did you mean {meant}?)"),
            };
            assert_eq!(hint(unknown), expected, "{unknown}");
        }
    }

    #[test]
    fn a_key_in_the_wrong_block_is_shown_its_own() {
        assert_eq!(hint("https_port"), " (did you mean gateway.https_port?)");
        assert_eq!(
            hint("storage.listen_address"),
            " (did you mean gateway.listen_address or server.listen_address?)"
        );
        assert_eq!(hint("storage.colour"), "");
    }

    #[test]
    fn all_unknown_keys_are_counted_also_those_of_a_block_that_is_two_structs() {
        let text = "gatway: {}\nstorge: {provider: postgres}\nlogs: {levle: info}\n\
            filesystem_storage: {type: s3, bukcet_name: crl, region: eu-1, id: x, metadata: {}}\n";
        let given = Figment::from(figment::providers::Yaml::string(text));
        let defaults = Config::embedded();
        assert_eq!(super::report(&given, &defaults, false).unwrap(), 4);
        let refused = super::report(&given, &defaults, true).unwrap_err();
        let refused = refused.to_string();
        for meant in [
            "gateway",
            "storage",
            "logs.level",
            "filesystem_storage.bucket_name",
        ] {
            let meant = format!("(did you mean {meant}?)");
            assert!(refused.contains(&meant), "{refused}");
        }
    }

    #[test]
    fn keys_that_are_never_written_are_read() {
        let known = KnownKeys::of(&Config::embedded()).unwrap();
        for (block, key) in NEVER_WRITTEN {
            let path = match block {
                "" => key.to_owned(),
                block => format!("{block}.{key}"),
            };
            let given = figment::Figment::from(figment::providers::Serialized::default(&path, "x"));
            let outcome = super::report(&given, &Config::embedded(), true);
            let refusal = outcome.err().map(|error| format!("{error:#}"));
            let refusal = refusal.unwrap_or_default();
            assert!(!refusal.contains("unknown configuration key"), "{refusal}");
            let block: Vec<_> = block.split('.').filter(|word| !word.is_empty()).collect();
            assert_eq!(known.nearest(&block, key), Some(key));
        }
    }
}
