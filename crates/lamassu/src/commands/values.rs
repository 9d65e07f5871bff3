//! Values that several commands take, as people write them.

use std::str::FromStr;

use clap::Args;
use lamassu_core::ca::{KeySource, Validity, ValidityType};
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::{EngineId, KeyRef};
use lamassu_core::query::parse_instant;
use lamassu_core::subject::Subject;
use lamassu_core::timestamp::Timestamp;
use lamassu_crypto::KeySpec;
use lamassu_x509::Name;
use time::OffsetDateTime;

/// Kinds of keys as people write them, the wire's name, and the size of those that have one only.
const KEY_TYPES: [(&str, &str, Option<u32>); 4] = [
    ("rsa", "RSA", None),
    ("ecdsa", "ECDSA", None),
    ("ed25519", "Ed25519", Some(256)),
    ("ml-dsa", "ML-DSA", None),
];

/// `ecdsa-256`, `rsa-3072`, `ed25519`, `ml-dsa-65`. Which of them there are, the engine says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyType {
    pub(super) name: String,
    pub(super) bits: u32,
}

impl FromStr for KeyType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let found = KEY_TYPES.iter().find_map(|(prefix, name, fixed)| {
            let rest = lower.strip_prefix(prefix)?;
            let bits = match (rest, fixed) {
                // Engines list the size of these, too.
                ("" | "-256", Some(bits)) => *bits,
                (rest, None) => rest.strip_prefix('-')?.parse().ok()?,
                (_, Some(_)) => return None,
            };
            Some(Self {
                name: (*name).to_owned(),
                bits,
            })
        });
        found.ok_or_else(|| {
            let all = KeySpec::GENERATED.iter().map(|spec| match spec {
                KeySpec::Ed25519 => "ed25519".to_owned(),
                spec => format!("{}-{}", kind(*spec), spec.bits()).to_ascii_lowercase(),
            });
            format!("there are {}", all.collect::<Vec<_>>().join(", "))
        })
    }
}

impl KeyType {
    /// The same for who makes the key; `None` where there is no such key.
    pub(super) fn spec(&self) -> Option<KeySpec> {
        let same = |spec: &KeySpec| kind(*spec) == self.name && spec.bits() == self.bits;
        KeySpec::GENERATED.into_iter().find(same)
    }
}

/// The wire's name of a kind of keys.
const fn kind(spec: KeySpec) -> &'static str {
    match spec {
        KeySpec::Rsa(_) => "RSA",
        KeySpec::Ec(_) => "ECDSA",
        KeySpec::Ed25519 => "Ed25519",
        KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => "ML-DSA",
    }
}

/// Which key something new gets.
#[derive(Clone, Debug, Args)]
pub(super) struct KeyArgs {
    /// Make a new key of this kind: ecdsa-256, rsa-3072, ed25519, ml-dsa-65, …
    #[arg(long, value_name = "TYPE-SIZE", default_value = "ecdsa-256")]
    key_type: KeyType,
    /// Engine for the new key; the default one when not said.
    #[arg(long, value_name = "ID", default_value = "")]
    engine: String,
    /// Use this key, by its id or alias, instead of a new one.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["key_type", "engine"])]
    key: Option<String>,
}

impl KeyArgs {
    pub(super) fn source(&self) -> KeySource {
        match &self.key {
            Some(key) => KeySource::Existing(KeyRef::from(key.as_str())),
            None => KeySource::New {
                key_type: self.key_type.name.clone(),
                bits: self.key_type.bits,
                engine_id: EngineId::from(self.engine.as_str()),
            },
        }
    }

    /// The engine that is named.
    pub(super) fn engine(&self) -> Option<&str> {
        (!self.engine.is_empty()).then_some(self.engine.as_str())
    }

    /// The existing key that is named.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

/// A subject as people write it: `CN=Plant CA,O=Example,C=DE`, or only a common name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubjectArg(pub(super) Subject);

impl FromStr for SubjectArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut subject = Subject::default();
        if !text.contains('=') {
            return Ok(Self(Subject::with_common_name(text)));
        }
        for part in parts(text) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is no NAME=VALUE; a comma in a value is \\,"))?;
            let member = match name.trim().to_ascii_uppercase().as_str() {
                "CN" => &mut subject.common_name,
                "O" => &mut subject.organization,
                "OU" => &mut subject.organization_unit,
                "C" => &mut subject.country,
                "ST" => &mut subject.state,
                "L" => &mut subject.locality,
                other => return Err(format!("{other} is none of CN, O, OU, C, ST, L")),
            };
            if !member.is_empty() {
                return Err(format!("{} is there twice", name.trim()));
            }
            value.trim().clone_into(member);
        }
        Ok(Self(subject))
    }
}

/// What commas separate, unless a backslash stands in front.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        let last = parts.last_mut();
        match (c, last) {
            ('\\', _) if !escaped => {
                escaped = true;
                continue;
            }
            (',', _) if !escaped => parts.push(String::new()),
            (c, Some(last)) => last.push(c),
            (_, None) => {}
        }
        escaped = false;
    }
    parts
}

/// A subject in one line, most specific first.
pub(super) fn subject(subject: &Subject) -> String {
    let Subject {
        common_name,
        organization,
        organization_unit,
        country,
        state,
        locality,
    } = subject;
    let named = [
        ("CN", common_name),
        ("OU", organization_unit),
        ("O", organization),
        ("L", locality),
        ("ST", state),
        ("C", country),
    ];
    let present = named.into_iter().filter(|(_, value)| !value.is_empty());
    let written: Vec<_> = present
        .map(|(name, value)| attribute(name, value))
        .collect();
    written.join(",")
}

fn attribute(name: &str, value: &str) -> String {
    format!("{name}={}", value.replace('\\', "\\\\").replace(',', "\\,"))
}

/// The same for a name as certificates have it, where the most specific comes last.
pub(super) fn name(name: &Name) -> String {
    let attributes = name.attributes();
    let mut written: Vec<_> = attributes
        .map(|one| attribute(&one.label(), &one.text()))
        .collect();
    written.reverse();
    written.join(",")
}

/// How long something lasts: a duration from now on, or a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lifetime(pub(super) Validity);

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(end) = parse_instant(text) {
            return Ok(Self(Validity {
                validity_type: ValidityType::Time,
                time: end.into(),
                ..Validity::default()
            }));
        }
        let duration: WireDuration = text.parse().map_err(|_| {
            "it is written like 90d, 10y (a y is 364 days) or 2035-12-31".to_owned()
        })?;
        if duration.is_zero() || duration.is_negative() {
            return Err("it must be above zero".to_owned());
        }
        Ok(Self(Validity::lasting(duration)))
    }
}

/// A duration above zero: the API takes none for one without end.
pub(super) fn lasting(text: &str) -> Result<WireDuration, String> {
    let duration: WireDuration = text.parse().map_err(|_| "it is written like 30d or 12h")?;
    if duration.is_zero() || duration.is_negative() {
        return Err("it must be above zero".to_owned());
    }
    Ok(duration)
}

/// A lifetime as people write it.
pub(super) fn lifetime(validity: &Validity) -> String {
    match validity.validity_type {
        ValidityType::Duration => duration(validity.duration),
        ValidityType::Time | ValidityType::Unset | ValidityType::Other(_) => at(validity.time),
    }
}

/// A duration, in days where that is how people count it.
pub(super) fn duration(duration: WireDuration) -> String {
    let length = time::Duration::from(duration);
    let days = length.whole_days();
    match days {
        1..364 if length == time::Duration::days(days) => format!("{days}d"),
        _ => duration.to_string(),
    }
}

/// A time, for example `2026-03-02` or `2026-03-02T09:15:00Z`.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    parse_instant(text)
        .map(Timestamp::from)
        .ok_or_else(|| "it is written like 2026-03-02 or 2026-03-02T09:15:00Z".to_owned())
}

/// A time to the second, UTC; nothing for none.
pub(super) fn at(time: Timestamp) -> String {
    let whole = time.0.replace_nanosecond(0).unwrap_or(time.0);
    if time.is_zero() {
        return String::new();
    }
    Timestamp::from(whole).to_string()
}

/// How long until then, in the largest unit that fits; nothing when it is past.
pub(super) fn left(until: Timestamp, now: OffsetDateTime) -> String {
    let seconds = (until.0 - now).whole_seconds();
    match seconds {
        ..=0 => String::new(),
        1..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use lamassu_core::timestamp::Timestamp;
    use time::Duration;
    use time::macros::datetime;

    use super::{KeyType, Lifetime, SubjectArg, at, left, lifetime, subject};

    #[test]
    fn key_types_are_a_name_and_a_size() {
        let read = |text: &str| text.parse::<KeyType>().map(|kind| (kind.name, kind.bits));
        assert_eq!(read("ecdsa-256"), Ok(("ECDSA".to_owned(), 256)));
        assert_eq!(read("RSA-3072"), Ok(("RSA".to_owned(), 3072)));
        assert_eq!(read("Ed25519"), Ok(("Ed25519".to_owned(), 256)));
        assert_eq!(read("ml-dsa-65"), Ok(("ML-DSA".to_owned(), 65)));
        assert_eq!(read("Ed25519-256"), read("ed25519"));
        for wrong in ["ecdsa", "rsa2048", "ed25519-255", "aes-128", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn subjects_read_back() {
        let text = "CN=Plant\\, hall 2,O=Example,C=DE";
        let SubjectArg(read) = text.parse().unwrap();
        assert_eq!(read.common_name, "Plant, hall 2");
        assert_eq!(subject(&read), text);
        let SubjectArg(named) = "Plant, hall 2".parse().unwrap();
        assert_eq!(named.common_name, "Plant, hall 2");
        for wrong in ["CN=a,CN=b", "UID=7", "CN=a,b"] {
            assert!(wrong.parse::<SubjectArg>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn lifetimes_are_durations_or_times() {
        let read = |text: &str| text.parse::<Lifetime>().map(|Lifetime(it)| lifetime(&it));
        assert_eq!(read("90d"), Ok("90d".to_owned()));
        assert_eq!(read("36h"), Ok("1d12h".to_owned()));
        assert_eq!(read("520w"), Ok("10y".to_owned()));
        assert_eq!(read("2035-12-31"), Ok("2035-12-31T00:00:00Z".to_owned()));
        assert!(read("0").is_err() && read("-1d").is_err() && read("soon").is_err());
    }

    #[test]
    fn times_are_told_to_the_second_and_from_now() {
        let now = datetime!(2026-03-02 09:15:27.5 UTC);
        assert_eq!(at(now.into()), "2026-03-02T09:15:27Z");
        assert_eq!(at(Timestamp::ZERO), "");
        for (away, told) in [
            (Duration::seconds(-1), ""),
            (Duration::seconds(59), "59s"),
            (Duration::minutes(90), "90m"),
            (Duration::hours(47), "47h"),
            (Duration::days(89), "89d"),
        ] {
            assert_eq!(left((now + away).into(), now), told);
        }
    }
}
