//! What a request holds: names from the command line or the old certificate, and the rest as the
//! server wishes.

use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use lamassu_client::est::{EstClient, EstError};
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey, PublicKey, SignatureScheme};
use lamassu_x509::{
    Certificate, CertificationRequest, CsrWishes, Extension, GeneralName, KeyUsageBit, KeyWish,
    Name, ObjectIdentifier, RequestTemplate, WantedExtension, WantedRequest, oids,
};

use super::Who;
use super::pair::Pair;
use crate::commands::output::note;
use crate::commands::values::{KeyType, SubjectArg};

/// The size of RSA keys where nobody says one.
const RSA_BITS: u32 = 3072;

/// An alternative name: a DNS name or an address, or with its kind in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct San(GeneralName);

impl FromStr for San {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = match text.split_once(':') {
            Some((kind, value))
                if ["dns", "ip", "email", "uri"].contains(&&*kind.to_lowercase()) =>
            {
                (kind.to_lowercase(), value)
            }
            _ if text.parse::<IpAddr>().is_ok() => ("ip".to_owned(), text),
            _ if text.contains("://") => ("uri".to_owned(), text),
            _ if text.contains('@') => ("email".to_owned(), text),
            _ => ("dns".to_owned(), text),
        };
        if value.is_empty() || !value.is_ascii() {
            return Err("it is empty, or has characters outside ASCII".to_owned());
        }
        Ok(Self(match kind.as_str() {
            "ip" => GeneralName::Ip(value.parse().map_err(|_| "it is no IP address")?),
            "uri" => GeneralName::Uri(value.to_owned()),
            "email" => GeneralName::Rfc822(value.to_owned()),
            _ => GeneralName::Dns(value.to_owned()),
        }))
    }
}

/// Whom a certificate is asked for.
#[derive(Debug)]
pub(super) struct Subject {
    name: Name,
    sans: Sans,
}

#[derive(Debug)]
enum Sans {
    Named(Vec<GeneralName>),
    /// As they stand in a certificate, if they do.
    Copied(Option<Extension>),
}

impl Subject {
    /// As the command line says.
    pub(super) fn of(who: &Who) -> Self {
        let SubjectArg(subject) = &who.subject;
        let sans = who.san.iter().map(|San(name)| name.clone());
        Self {
            name: subject.to_fields().to_name(),
            sans: Sans::Named(sans.collect()),
        }
    }

    /// As a certificate says: its successor must not differ (RFC 7030 section 4.2.2).
    pub(super) fn of_certificate(certificate: &Certificate) -> Self {
        let sans = certificate.extensions().subject_alt_name_extension();
        Self {
            name: certificate.subject().clone(),
            sans: Sans::Copied(sans.cloned()),
        }
    }

    /// What the server has filled in goes into the request as it stands, and what is said here into the
    /// blanks. A renewal keeps the names of its certificate.
    fn template(&self, key: &PublicKey, wishes: &Wishes) -> Result<RequestTemplate> {
        let wanted = wishes.csr.template();
        let name = match (&self.sans, wanted) {
            (Sans::Named(_), Some(wanted)) => wanted
                .subject(&self.name)
                .context("--subject does not say what the server wants")?,
            (Sans::Named(_), None) | (Sans::Copied(_), _) => self.name.clone(),
        };
        let mut template = RequestTemplate::new(name, key);
        match &self.sans {
            Sans::Named(names) if names.is_empty() => {}
            Sans::Named(names) => template = template.with_subject_alt_names(names),
            Sans::Copied(Some(extension)) => template = template.with_extension(extension.clone()),
            Sans::Copied(None) => {}
        }
        if let Some(binding) = &wishes.binding {
            template = template.with_challenge_password(binding);
        }
        let extensions = wanted.map_or(&[][..], WantedRequest::extensions);
        for wanted in extensions {
            template = self.with_wanted(template, wanted)?;
        }
        let is_settled =
            |oid: &ObjectIdentifier| extensions.iter().any(|wanted| wanted.oid() == *oid);
        let listed = wishes.csr.extensions();
        let left = listed.into_iter().filter(|oid| !is_settled(oid));
        Ok(left.fold(template, usual_extension))
    }

    fn with_wanted(
        &self,
        template: RequestTemplate,
        wanted: &WantedExtension,
    ) -> Result<RequestTemplate> {
        let is_names = wanted.oid() == oids::CE_SUBJECT_ALT_NAME;
        match (&self.sans, wanted.filled_in()) {
            (Sans::Copied(_), _) if is_names => Ok(template),
            (Sans::Named(names), _) if is_names && !names.is_empty() => Ok(template),
            (_, Some(extension)) => Ok(template.with_extension(extension)),
            (_, None) if is_names => {
                bail!("the server wants alternative names in the request: --san says them")
            }
            (_, None) => Ok(usual_extension(template, wanted.oid())),
        }
    }
}

/// Asks for an extension with the value that a device usually has; for none that is not known here.
fn usual_extension(template: RequestTemplate, oid: ObjectIdentifier) -> RequestTemplate {
    if oid == oids::CE_KEY_USAGE {
        let usage = [KeyUsageBit::DigitalSignature].into_iter().collect();
        template.with_key_usage(usage)
    } else if oid == oids::CE_EXT_KEY_USAGE {
        template.with_extended_key_usage(&[oids::KP_CLIENT_AUTH])
    } else {
        template
    }
}

/// What a server wishes.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) csr: CsrWishes,
    /// What ties a request to the connection, where the server wants that and there is something.
    binding: Option<String>,
}

/// What the server wishes. One whose wishes cannot be read is asked without them.
///
/// # Errors
/// It cannot be reached, or refuses.
pub(super) async fn wishes(client: &EstClient) -> Result<Wishes> {
    match client.csr_attrs().await {
        Ok(csr) => {
            let wants = csr.wants_challenge_password();
            let binding = wants.then(|| client.channel_binding()).flatten();
            Ok(Wishes { csr, binding })
        }
        Err(EstError::Malformed(_) | EstError::Unreadable(_)) => {
            note("what the server wants to see in requests cannot be read, and is passed over");
            Ok(Wishes::default())
        }
        Err(error) => Err(error.into()),
    }
}

/// Which key is made.
///
/// # Errors
/// There is no such key.
pub(super) fn key_spec(
    asked: Option<&KeyType>,
    usual: Option<KeySpec>,
    wishes: &CsrWishes,
) -> Result<KeySpec> {
    if let Some(asked) = asked {
        let spec = asked.spec();
        return spec.context("keys of this kind and size are not made here");
    }
    let p256 = KeySpec::Ec(Curve::P256);
    let wish = wishes.key();
    if let (Some(usual), Some(wish)) = (usual, wish)
        && wish.is_met_by(usual)
    {
        return Ok(usual);
    }
    match wish {
        None => Ok(usual.unwrap_or(p256)),
        Some(KeyWish::Exactly(spec)) => Ok(spec),
        Some(KeyWish::AnyRsa) => Ok(KeySpec::Rsa(RSA_BITS)),
        Some(KeyWish::AnyCurve) => Ok(p256),
        Some(KeyWish::Unknown) => {
            bail!(
                "the server wants a kind of key that is not made here: make one, and name it by --key"
            )
        }
    }
}

/// Says so where a key is another than the server wants; it may take it all the same.
pub(super) fn check_key(key: &PublicKey, wishes: &CsrWishes) {
    if wishes.key().is_some_and(|wish| !wish.is_met_by(key.spec())) {
        note("the server asks for another kind of key: it may refuse this one");
    }
}

/// The request: the one that waits for its answer if it says the same, otherwise a new one, which
/// waits from now on.
///
/// # Errors
/// The key does not sign, or the request cannot be written.
pub(super) fn request(
    pair: &Pair,
    subject: &Subject,
    key: &PrivateKey,
    wishes: &Wishes,
) -> Result<Bytes> {
    if let Some(waiting) = pair.request()
        && waiting.spki_der().as_ref() == key.public_key().spki_der()
        && says_the_same(&waiting, subject, key.public_key(), wishes)
    {
        return Ok(waiting.as_der().clone());
    }
    let der = signed(subject, key, wishes)?;
    pair.write_request(&der)?;
    Ok(der)
}

/// The same for a request whose key is of no further use.
///
/// # Errors
/// As [`request`].
pub(super) fn request_without_key(
    pair: &Pair,
    subject: &Subject,
    wishes: &Wishes,
) -> Result<Bytes> {
    if let Some(waiting) = pair.request()
        && let Ok(key) = PublicKey::from_spki_der(waiting.spki_der())
        && says_the_same(&waiting, subject, &key, wishes)
    {
        return Ok(waiting.as_der().clone());
    }
    let key = PrivateKey::generate(KeySpec::Ec(Curve::P256))?;
    let der = signed(subject, &key, wishes)?;
    pair.write_request(&der)?;
    Ok(der)
}

fn says_the_same(
    waiting: &CertificationRequest,
    subject: &Subject,
    key: &PublicKey,
    wishes: &Wishes,
) -> bool {
    let template = subject.template(key, wishes).ok();
    let fresh = template.and_then(|template| template.to_be_signed(key.default_scheme()).ok());
    fresh.is_some_and(|fresh| fresh.as_bytes() == waiting.info_der().as_ref())
}

fn signed(subject: &Subject, key: &PrivateKey, wishes: &Wishes) -> Result<Bytes> {
    let template = subject.template(key.public_key(), wishes)?;
    let scheme = scheme(key, &wishes.csr);
    let to_be_signed = template.to_be_signed(scheme)?;
    let signature = key.sign(scheme, Message::Raw(to_be_signed.as_bytes()))?;
    Ok(to_be_signed.assemble_verified(&signature, key.public_key())?)
}

/// What the server wishes, where the key can do it.
fn scheme(key: &PrivateKey, wishes: &CsrWishes) -> SignatureScheme {
    let wished = wishes.signature_scheme();
    let wished = wished.filter(|scheme| key.sign(*scheme, Message::Raw(&[])).is_ok());
    wished.unwrap_or_else(|| key.default_scheme())
}

#[cfg(test)]
mod tests {
    use lamassu_crypto::{Curve, KeySpec, PrivateKey};
    use lamassu_x509::{
        CertificationRequest, CsrAttribute, CsrWishes, GeneralName, ObjectIdentifier,
        SubjectFields, csr_attrs, oids,
    };

    use super::{San, Sans, Subject, Wishes, key_spec, signed};

    /// A template with `O=Example` and a blank common name, a key on P-256, a challenge password, a
    /// key usage, and a blank alternative name.
    const TEMPLATE: &[u8] = include_bytes!("../../../../../fuzz/seeds/csr_attrs/rfc9908");

    /// The request of a device that calls itself so.
    fn request(
        fields: &SubjectFields,
        names: &[GeneralName],
    ) -> anyhow::Result<CertificationRequest> {
        let csr = CsrWishes::from_der(TEMPLATE).unwrap();
        assert_eq!(key_spec(None, None, &csr)?, KeySpec::Ec(Curve::P256));
        assert!(csr.wants_challenge_password());
        let subject = Subject {
            name: fields.to_name(),
            sans: Sans::Named(names.to_vec()),
        };
        let wishes = Wishes {
            csr,
            binding: Some("binding".to_owned()),
        };
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256))?;
        Ok(CertificationRequest::from_der(signed(
            &subject, &key, &wishes,
        )?)?)
    }

    #[test]
    fn a_template_is_filled_in() {
        let names = [GeneralName::Dns("d.example".to_owned())];
        let device = SubjectFields::with_common_name("d");
        let asked = request(&device, &names).unwrap();
        assert_eq!(asked.subject().to_string(), "O=Example,CN=d");
        assert_eq!(asked.challenge_password().unwrap(), "binding");
        let extensions = asked.requested_extensions();
        assert_eq!(extensions.iter().count(), 2);
        assert_eq!(extensions.subject_alt_names().unwrap(), names);
        let usage = extensions.find(&oids::CE_KEY_USAGE).unwrap();
        assert_eq!(usage.value(), &[3, 2, 3, 8][..]);

        let refused = |fields: &SubjectFields, names: &[GeneralName]| {
            format!("{:#}", request(fields, names).unwrap_err())
        };
        assert!(refused(&device, &[]).contains("--san"));
        let nobody = SubjectFields {
            common_name: String::new(),
            locality: "Here".to_owned(),
            ..device.clone()
        };
        let said = refused(&nobody, &names);
        assert!(
            said.contains("--subject") && said.contains("wants CN"),
            "{said}"
        );
        let other = SubjectFields {
            organization: "Other".to_owned(),
            ..device
        };
        let said = refused(&other, &names);
        assert!(
            said.contains("wants O=Example") && said.contains("not O=Other"),
            "{said}"
        );
    }

    #[test]
    fn alternative_names_tell_their_kind() {
        let read = |text: &str| text.parse().map(|San(name)| name);
        assert_eq!(read("a.example"), Ok(GeneralName::Dns("a.example".into())));
        assert_eq!(read("10.0.0.7"), Ok(GeneralName::Ip([10, 0, 0, 7].into())));
        assert_eq!(read("ip:::1"), Ok(GeneralName::Ip("::1".parse().unwrap())));
        assert_eq!(read("a@b"), Ok(GeneralName::Rfc822("a@b".into())));
        assert_eq!(read("urn://x"), Ok(GeneralName::Uri("urn://x".into())));
        assert_eq!(read("uri:urn:x"), Ok(GeneralName::Uri("urn:x".into())));
        for wrong in ["", "dns:", "ip:a", "dns:ä"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_key_is_what_is_asked_for_then_what_is_wished_then_the_usual() {
        let rsa = CsrWishes::from_der(csr_attrs(&[CsrAttribute::WithNumber {
            attribute_type: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"),
            value: 4096,
        }]))
        .unwrap();
        let none = CsrWishes::default();
        let p384 = KeySpec::Ec(Curve::P384);
        let ed25519 = "ed25519".parse().unwrap();
        let spec = |asked, usual, wishes| key_spec(asked, usual, wishes).unwrap();
        assert_eq!(spec(Some(&ed25519), None, &rsa), KeySpec::Ed25519);
        assert_eq!(spec(None, Some(p384), &rsa), KeySpec::Rsa(4096));
        assert_eq!(spec(None, Some(p384), &none), p384);
        assert_eq!(spec(None, None, &none), KeySpec::Ec(Curve::P256));
        key_spec(Some(&"rsa-1000".parse().unwrap()), None, &none).unwrap_err();
    }
}
