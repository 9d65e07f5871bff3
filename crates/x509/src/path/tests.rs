//! Chains that are good, and one for each way to be bad.

use lamassu_crypto::{Curve, HashAlgorithm, KeySpec, Message, PrivateKey, SignatureScheme};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::{Expiry, PathError, PathIssuer, PathRules, validate};
use crate::algorithm::AlgorithmIdentifier;
use crate::certificate::Certificate;
use crate::datetime::write_time;
use crate::extensions::{
    BasicConstraints, Criticality, Extension, Extensions, KeyUsage, KeyUsageBit,
};
use crate::name::{Name, SubjectFields};
use crate::oids;
use crate::signed::ToBeSigned;
use crate::tlv::{context_constructed, sequence_of};

const NOW: OffsetDateTime = datetime!(2026-03-04 05:06:07 UTC);

/// Who has a key in these tests.
struct Keys {
    root: PrivateKey,
    sub: PrivateKey,
    device: PrivateKey,
}

impl Keys {
    fn new() -> Self {
        let key = || PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        Self {
            root: key(),
            sub: key(),
            device: key(),
        }
    }
}

/// A certificate to be made; the default is an end entity `device` that `sub` issued, valid now.
#[derive(Clone)]
struct Made {
    subject: &'static str,
    issuer: &'static str,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    extensions: Vec<Extension>,
    scheme: SignatureScheme,
    /// What the signed part says of the scheme, where it is not the truth.
    signed_scheme: Option<SignatureScheme>,
}

impl Made {
    fn new(subject: &'static str, issuer: &'static str) -> Self {
        Self {
            subject,
            issuer,
            not_before: NOW - Duration::days(10),
            not_after: NOW + Duration::days(10),
            extensions: Vec::new(),
            scheme: SignatureScheme::Ecdsa(HashAlgorithm::Sha256),
            signed_scheme: None,
        }
    }

    fn ca(subject: &'static str, issuer: &'static str) -> Self {
        Self::new(subject, issuer).with(basic_constraints(true, None))
    }

    fn with(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    fn without_extensions(mut self) -> Self {
        self.extensions.clear();
        self
    }

    fn valid(mut self, not_before: OffsetDateTime, not_after: OffsetDateTime) -> Self {
        self.not_before = not_before;
        self.not_after = not_after;
        self
    }

    fn sign(&self, key: &PrivateKey, signer: &PrivateKey) -> Certificate {
        let algorithm = AlgorithmIdentifier::of_scheme(self.scheme).unwrap();
        let signed_scheme = self.signed_scheme.unwrap_or(self.scheme);
        let signed_algorithm = AlgorithmIdentifier::of_scheme(signed_scheme).unwrap();
        let extensions: Extensions = self.extensions.iter().cloned().collect();
        let der = sequence_of(|tbs| {
            tbs.nested(context_constructed(0), |version| {
                version.unsigned(&[2]);
            })
            .unsigned(&[7])
            .raw(signed_algorithm.as_der())
            .raw(name(self.issuer).as_der())
            .sequence(|validity| {
                write_time(validity, self.not_before);
                write_time(validity, self.not_after);
            })
            .raw(name(self.subject).as_der())
            .raw(key.public_key().spki_der())
            .nested(context_constructed(3), |explicit| {
                extensions.write(explicit);
            });
        });
        let to_be_signed = ToBeSigned::new(der, self.scheme, algorithm);
        // Nobody signs over SHA-1 any more; the check comes before the signature is looked at.
        let signature = signer.sign(self.scheme, Message::Raw(to_be_signed.as_bytes()));
        Certificate::from_der(to_be_signed.assemble(&signature.unwrap_or_default())).unwrap()
    }
}

fn name(common_name: &str) -> Name {
    SubjectFields::with_common_name(common_name).to_name()
}

fn basic_constraints(ca: bool, path_len_constraint: Option<u32>) -> Extension {
    let value = BasicConstraints {
        ca,
        path_len_constraint,
    }
    .to_der();
    Extension::new(&oids::CE_BASIC_CONSTRAINTS, Criticality::Critical, value)
}

fn key_usage(bit: KeyUsageBit) -> Extension {
    let usage: KeyUsage = [bit].into_iter().collect();
    Extension::new(&oids::CE_KEY_USAGE, Criticality::Critical, usage.to_der())
}

fn unknown_extension(criticality: Criticality) -> Extension {
    Extension::new(&oids::KP_CODE_SIGNING, criticality, vec![0x05, 0x00])
}

fn rules(expiry: Expiry) -> PathRules {
    PathRules {
        now: NOW,
        clock_skew: Duration::seconds(60),
        expiry,
        max_certificates: 5,
    }
}

/// Root → sub → device, each of which a test may change.
struct Chain {
    keys: Keys,
    root: Made,
    sub: Made,
    device: Made,
}

impl Chain {
    fn new() -> Self {
        Self {
            keys: Keys::new(),
            root: Made::ca("root", "root"),
            sub: Made::ca("sub", "root"),
            device: Made::new("device", "sub"),
        }
    }

    fn certificates(&self) -> (Certificate, Certificate, Certificate) {
        let Keys { root, sub, device } = &self.keys;
        (
            self.root.sign(root, root),
            self.sub.sign(sub, root),
            self.device.sign(device, sub),
        )
    }

    fn validate(&self, expiry: Expiry) -> Result<PathIssuer, PathError> {
        let (root, sub, device) = self.certificates();
        validate(&device, &[sub], &root, &rules(expiry))
    }
}

fn check(change: impl FnOnce(&mut Chain), expected: Result<(), PathError>) {
    let mut chain = Chain::new();
    change(&mut chain);
    assert_eq!(chain.validate(Expiry::Considered).map(drop), expected);
}

#[test]
fn the_issuer_of_the_end_entity_is_named() {
    let chain = Chain::new();
    let (root, sub, device) = chain.certificates();
    let rules = rules(Expiry::Considered);
    let by_sub = validate(&device, std::slice::from_ref(&sub), &root, &rules);
    let over_sub = PathIssuer::Intermediates(vec![sub.clone()]);
    assert_eq!(by_sub, Ok(over_sub.clone()));
    // A subordinate CA is a good anchor, and so is the certificate itself.
    assert_eq!(validate(&device, &[], &sub, &rules), Ok(PathIssuer::Anchor));
    assert_eq!(
        validate(&device, &[], &device, &rules),
        Ok(PathIssuer::Itself)
    );
    // The order of what is sent does not matter, nor what does not belong.
    let stranger = Made::ca("stranger", "root").sign(&chain.keys.device, &chain.keys.root);
    let among_others = validate(&device, &[stranger, root.clone(), sub], &root, &rules);
    assert_eq!(among_others, Ok(over_sub));
    assert_eq!(
        validate(&device, &[], &root, &rules),
        Err(PathError::NoIssuer)
    );
}

#[test]
fn what_harms_nobody_passes() {
    let cases: [fn(&mut Chain); 6] = [
        |chain| chain.root = Made::new("root", "root"),
        |chain| chain.sub = chain.sub.clone().with(key_usage(KeyUsageBit::KeyCertSign)),
        |chain| {
            chain.device = chain
                .device
                .clone()
                .with(unknown_extension(Criticality::NonCritical));
        },
        |chain| chain.root = Made::new("root", "root").with(basic_constraints(true, Some(1))),
        |chain| chain.device.not_before = NOW + Duration::seconds(60),
        |chain| chain.sub.not_before = NOW + Duration::seconds(60),
    ];
    for case in cases {
        check(case, Ok(()));
    }
}

#[test]
fn one_fault_breaks_a_path() {
    type Case = (fn(&mut Chain), PathError);
    let cases: [Case; 18] = [
        (|c| c.device.issuer = "else", PathError::NoIssuer),
        (
            |c| c.sub = c.sub.clone().without_extensions(),
            PathError::NotACa,
        ),
        (
            |c| c.sub = Made::new("sub", "root").with(basic_constraints(false, None)),
            PathError::NotACa,
        ),
        (
            |c| c.root = Made::new("root", "root").with(basic_constraints(false, None)),
            PathError::NotACa,
        ),
        (
            |c| c.sub = c.sub.clone().with(key_usage(KeyUsageBit::DigitalSignature)),
            PathError::NotACa,
        ),
        (
            |c| c.root = Made::new("root", "root").with(basic_constraints(true, Some(0))),
            PathError::PathLength,
        ),
        (
            |c| c.sub.not_after = NOW - Duration::seconds(1),
            PathError::IssuerNotValid,
        ),
        (
            |c| c.root.not_after = NOW - Duration::seconds(1),
            PathError::IssuerNotValid,
        ),
        (
            |c| c.sub.not_before = NOW + Duration::seconds(61),
            PathError::IssuerNotValid,
        ),
        (
            |c| c.root.not_before = NOW + Duration::seconds(61),
            PathError::IssuerNotValid,
        ),
        (
            |c| {
                let unknown = unknown_extension(Criticality::NonCritical);
                c.device = c.device.clone().with(unknown.clone()).with(unknown);
            },
            PathError::RepeatedExtension,
        ),
        (
            |c| c.sub = c.sub.clone().with(basic_constraints(false, None)),
            PathError::RepeatedExtension,
        ),
        (
            |c| c.device.signed_scheme = Some(SignatureScheme::Ecdsa(HashAlgorithm::Sha384)),
            PathError::AlgorithmMismatch,
        ),
        (
            |c| c.sub.signed_scheme = Some(SignatureScheme::Ecdsa(HashAlgorithm::Sha384)),
            PathError::AlgorithmMismatch,
        ),
        (
            |c| {
                c.device = c
                    .device
                    .clone()
                    .with(unknown_extension(Criticality::Critical));
            },
            PathError::CriticalExtension,
        ),
        (
            |c| c.sub = c.sub.clone().with(unknown_extension(Criticality::Critical)),
            PathError::CriticalExtension,
        ),
        (
            |c| c.device.scheme = SignatureScheme::Ecdsa(HashAlgorithm::Sha1),
            PathError::WeakSignature,
        ),
        (
            |c| {
                let names = Extension::new(
                    &oids::CE_NAME_CONSTRAINTS,
                    Criticality::NonCritical,
                    vec![0x30, 0],
                );
                c.sub = c.sub.clone().with(names);
            },
            PathError::NameConstraints,
        ),
    ];
    for (change, expected) in cases {
        check(change, Err(expected));
    }
}

#[test]
fn a_name_alone_makes_no_issuer() {
    let (_, sub, device) = Chain::new().certificates();
    let (namesake, _, _) = Chain::new().certificates();
    let refused = validate(&device, &[sub], &namesake, &rules(Expiry::Considered));
    assert_eq!(refused, Err(PathError::Signature));
}

#[test]
fn time_is_told_apart_from_trust() {
    let mut chain = Chain::new();
    chain.device.not_before = NOW + Duration::seconds(61);
    assert_eq!(chain.validate(Expiry::Ignored), Err(PathError::NotYetValid));
    let mut chain = Chain::new();
    chain.device.not_after = NOW - Duration::seconds(1);
    assert_eq!(chain.validate(Expiry::Considered), Err(PathError::Expired));
    assert_eq!(chain.validate(Expiry::Ignored).map(drop), Ok(()));
    // A stranger's expired certificate is untrusted, not expired.
    let (_, sub, device) = chain.certificates();
    let stranger = Made::ca("root", "root").sign(&chain.keys.device, &chain.keys.device);
    assert_eq!(
        validate(&device, &[sub], &stranger, &rules(Expiry::Considered)),
        Err(PathError::Signature)
    );
}

#[test]
fn without_expiry_the_path_is_judged_when_the_end_entity_began() {
    // The intermediate has expired since; it was valid then.
    let mut chain = Chain::new();
    chain.sub = chain
        .sub
        .valid(NOW - Duration::days(20), NOW - Duration::days(5));
    assert_eq!(
        chain.validate(Expiry::Considered),
        Err(PathError::IssuerNotValid)
    );
    assert_eq!(chain.validate(Expiry::Ignored).map(drop), Ok(()));
    // Both issuers were reissued for their keys after they had signed.
    let mut chain = Chain::new();
    let (since, until) = (NOW - Duration::days(1), NOW + Duration::days(100));
    chain.root = chain.root.valid(since, until);
    chain.sub = chain.sub.valid(since, until);
    assert_eq!(chain.validate(Expiry::Ignored).map(drop), Ok(()));
    // Certificates of the year 1 exist and are strangers' ones.
    let year_one = datetime!(0001-01-01 00:00:00 UTC);
    let key = Keys::new().device;
    let fake = Made::new("device", "device")
        .valid(year_one, year_one)
        .sign(&key, &key);
    let (root, _, _) = Chain::new().certificates();
    assert_eq!(
        validate(&fake, &[], &root, &rules(Expiry::Ignored)),
        Err(PathError::NoIssuer)
    );
}

#[test]
fn a_path_has_a_longest_length() {
    let chain = Chain::new();
    let (root, sub, device) = chain.certificates();
    let short = PathRules {
        max_certificates: 2,
        ..rules(Expiry::Considered)
    };
    assert_eq!(
        validate(&device, std::slice::from_ref(&sub), &sub, &short),
        Ok(PathIssuer::Anchor)
    );
    assert_eq!(
        validate(&device, &[sub], &root, &short),
        Err(PathError::TooLong)
    );
}

#[test]
fn many_candidates_of_one_name_cost_a_bounded_number_of_signatures() {
    let keys = Keys::new();
    // Each could have issued each: they share a name and a key.
    let loops: Vec<Certificate> = (0..40)
        .map(|days| {
            let mut made = Made::ca("loop", "loop");
            made.not_after = NOW + Duration::days(10 + days);
            made.sign(&keys.sub, &keys.sub)
        })
        .collect();
    let device = Made::new("device", "loop").sign(&keys.device, &keys.sub);
    let anchor = Made::ca("root", "root").sign(&keys.root, &keys.root);
    let rules = PathRules {
        max_certificates: 50,
        ..rules(Expiry::Considered)
    };
    assert_eq!(
        validate(&device, &loops, &anchor, &rules),
        Err(PathError::TooLong)
    );
}
