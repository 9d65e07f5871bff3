//! Issuing, renewing and taking in certificates.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use lamassu_core::ca::certificate::inherited;
use lamassu_core::ca::{
    AlternativeName, CaError, CaService as _, Certificate, CertificateStatus, CertificateType,
    CreateCertificate as NewOne, ImportCertificate, KeySource, ProfileChoice, SignCsr,
};
use lamassu_core::ids::{CaId, KeyRef};
use lamassu_core::kms::KmsService as _;
use lamassu_core::pem::CsrDer;
use lamassu_core::usage::{ExtendedKeyUsage, RevocationReason};
use lamassu_crypto::HashAlgorithm;
use lamassu_x509::{Certificate as Read, CertificationRequest, GeneralName, Name};

use super::show::{
    alternative_names as alternative_names_of, find, general_names, key_id, print, told_names,
};
use super::{CreateCertificate, ImportCertificates, Issue, Renew, Target, tell_doubts};
use crate::commands::Session;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::fields::CERTIFICATE_FIELDS;
use crate::commands::files::{self, Bundle};
use crate::commands::listing::{self, Conditions};
use crate::commands::output::note;
use crate::commands::profiles::{self, choice};
use crate::commands::progress;
use crate::commands::values::{SubjectArg, at, name};

/// Why certificates are revoked whose key somebody else may have.
const COMPROMISED: RevocationReason = RevocationReason::KeyCompromise;

pub(super) async fn issue(session: &Session, asked: &Issue) -> Result<()> {
    let csr = files::csr(&asked.csr)?;
    asked.target.check()?;
    if !asked.allow_compromised_key {
        let key = hex::encode(HashAlgorithm::Sha256.digest(csr.spki_der()));
        refuse_compromised(session, &key, None).await?;
    }
    let profile = choice(session, asked.profile.as_deref()).await?;
    let issued = from_csr(session, &asked.ca, &csr, profile).await?;
    deliver(session, &asked.target, &issued).await
}

async fn from_csr(
    session: &Session,
    ca: &str,
    csr: &CertificationRequest,
    profile: ProfileChoice,
) -> Result<Certificate> {
    let request = SignCsr {
        csr: Some(CsrDer::from_der(csr.as_der().clone())),
        profile,
        verify_csr_signature: None,
    };
    let issued = session
        .ca
        .sign_csr(&session.caller, &CaId::from(ca), request)
        .await;
    issued.about(About::ca(ca))
}

pub(super) async fn create(session: &Session, asked: &CreateCertificate) -> Result<()> {
    let SubjectArg(subject) = &asked.subject;
    asked.target.check()?;
    if let Some(key) = asked.key.key().filter(|_| !asked.allow_compromised_key) {
        let found = session.kms.key(&session.caller, &KeyRef::from(key)).await;
        let found = found.about(About::key(key))?;
        refuse_compromised(session, found.key_id.as_str(), None).await?;
    }
    let alternative_names = asked.names.names();
    let n_names = alternative_names.len();
    let request = NewOne {
        ca: CaId::from(asked.ca.as_str()),
        key: asked.key.source(),
        subject: subject.clone(),
        successor_of: None,
        alternative_names,
        profile: choice(session, asked.profile.as_deref()).await?,
        metadata: asked.metadata.to_map(),
    };
    let wait = progress::waiting("making the certificate");
    let made = session
        .ca
        .create_certificate(&session.caller, request)
        .await;
    wait.finish();
    let about = About::ca(&asked.ca)
        .and(Noun::Key, asked.key.key())
        .and(Noun::Engine, asked.key.engine());
    let made = made.about(about)?;
    if n_names > 0 && alternative_names_of(&made).is_empty() {
        note(
            "warning: the alternative names are not in it: its profile does not honour those that are asked for",
        );
    }
    deliver(session, &asked.target, &made).await
}

impl Target {
    /// Fails where the certificate could not be written.
    fn check(&self) -> Result<()> {
        self.out.as_deref().map_or(Ok(()), files::check_write)
    }
}

/// Writes the certificate where it shall go, and shows it.
async fn deliver(session: &Session, target: &Target, issued: &Certificate) -> Result<()> {
    tell_doubts(session, issued).await;
    let Some(path) = &target.out else {
        return print(session, issued);
    };
    let chain = if target.chain {
        session
            .ca
            .certificate_chain(&session.caller, &issued.into())
            .await?
    } else {
        vec![issued.certificate.clone()]
    };
    let written = files::write(path, &files::certificates(target.format, &chain));
    // It exists, whatever becomes of the file.
    let serial = &issued.serial_number;
    written.with_context(|| format!("the certificate {serial} is issued"))?;
    if path == Path::new("-") {
        return Ok(());
    }
    print(session, issued)
}

pub(super) async fn renew(session: &Session, asked: &Renew) -> Result<()> {
    asked.target.check()?;
    let old = find(session, &asked.one).await?;
    ensure!(
        !old.is_ca,
        "{} is the certificate of a CA: that is `lamassu cas reissue`",
        asked.one.serial
    );
    let issuer = old.issuer_metadata.id.as_str();
    ensure!(issuer != "-", "no CA of this installation issued it");
    let is_over = old.status == CertificateStatus::Revoked
        && old.revocation_reason != RevocationReason::CertificateHold;
    ensure!(
        !(asked.revoke_old && is_over),
        "{} is revoked already: leave out --revoke-old",
        asked.one.serial
    );
    let csr = asked.csr.as_deref().map(files::csr).transpose()?;
    if let Some(csr) = &csr {
        refuse_other_names(session, &old, csr, asked.profile.as_deref()).await?;
    }
    if !asked.allow_compromised_key && has_same_key(&old, csr.as_ref())? {
        refuse_compromised(session, &key_id(&old)?, Some(&old)).await?;
    }
    let profile = choice(session, asked.profile.as_deref()).await?;
    if old.status == CertificateStatus::Revoked {
        note(&format!(
            "warning: it was revoked {}: {}",
            at(old.revocation_timestamp),
            old.revocation_reason.name()
        ));
    }
    let new = match csr {
        Some(csr) => from_csr(session, issuer, &csr, profile).await?,
        None => with_same_key(session, &old, profile).await?,
    };
    let lost = lost_usages(&old, &new);
    if !lost.is_empty() {
        note(&format!(
            "warning: the new certificate is not for {}, as the old one is: --profile NAME names the profile of such",
            lost.join(", ")
        ));
    }
    if asked.revoke_old && lost.is_empty() {
        let revoked = session
            .ca
            .set_certificate_status(
                &session.caller,
                &(&old).into(),
                CertificateStatus::Revoked,
                RevocationReason::Superseded,
            )
            .await;
        let serial = &new.serial_number;
        revoked.with_context(|| {
            format!("the successor {serial} is issued, and the old certificate is not revoked")
        })?;
    }
    deliver(session, &asked.target, &new).await?;
    // Whoever shows it is not cut off by a successor that does not do.
    ensure!(
        !asked.revoke_old || lost.is_empty(),
        "the old certificate is not revoked, since {} is not for the same: once there is one that is, \
         `lamassu certificates revoke {}` revokes it",
        new.serial_number,
        old.serial_number
    );
    Ok(())
}

/// The extended key usages that a certificate has and its successor lacks. One without any is for everything.
fn lost_usages(old: &Certificate, new: &Certificate) -> Vec<&'static str> {
    let (old, new) = (
        &old.extensions.extended_key_usage,
        &new.extensions.extended_key_usage,
    );
    let lost = old
        .iter()
        .filter(|one| !new.is_empty() && !new.contains(one));
    lost.copied().map(ExtendedKeyUsage::name).collect()
}

/// Refuses a request whose certificate would be no successor: that has the same names (RFC 7030 4.2.2).
async fn refuse_other_names(
    session: &Session,
    old: &Certificate,
    request: &CertificationRequest,
    profile: Option<&str>,
) -> Result<()> {
    let read = Read::from_der(old.certificate.der().clone())?;
    let (subject, extensions) = (request.subject(), request.requested_extensions());
    let has_same_subject = subject.matches(read.subject());
    let has_same_names = extensions.has_same_names(read.extensions());
    if has_same_subject && has_same_names {
        return Ok(());
    }
    // What a profile does not take from requests may be anything there.
    let profile = match profile {
        Some(profile) => profile.to_owned(),
        None => {
            let ca = session
                .ca
                .ca(&session.caller, &old.issuer_metadata.id)
                .await?;
            ca.profile_id.to_string()
        }
    };
    let profile = profiles::find(session, &profile).await?;
    let keeps_subject = has_same_subject
        || !profile.honor_subject && subject.common_name() == read.subject().common_name();
    let keeps_names = has_same_names || !profile.honor_extensions && general_names(old).is_empty();
    ensure!(
        keeps_subject && keeps_names,
        "the request is for {}, the certificate for {}: a successor has the same names. `lamassu certificates \
         issue` issues for others",
        told(subject, extensions.subject_alt_names().unwrap_or_default()),
        told(read.subject(), general_names(old))
    );
    Ok(())
}

/// A subject and its alternative names, for people.
fn told(subject: &Name, names: Vec<GeneralName>) -> String {
    let subject = name(subject);
    match told_names(names) {
        names if names.is_empty() => format!("{subject} without alternative names"),
        names => format!("{subject} with the alternative names {}", names.join(", ")),
    }
}

/// Whether the successor has the key of the certificate.
fn has_same_key(old: &Certificate, csr: Option<&CertificationRequest>) -> Result<bool> {
    let Some(csr) = csr else {
        return Ok(true);
    };
    let read = Read::from_der(old.certificate.der().clone())?;
    Ok(csr.spki_der() == read.spki_der())
}

/// Fails where somebody else may have the key of this id: a certificate for it was revoked because of that.
/// `known` is one for it that may call it otherwise, as those of others do.
async fn refuse_compromised(
    session: &Session,
    key: &str,
    known: Option<&Certificate>,
) -> Result<()> {
    let names = known.map_or_else(
        || key.to_owned(),
        |known| format!("{key},{}", known.subject_key_id),
    );
    let conditions = Conditions::default()
        .with("subject_key_id[in]", Some(&names))
        .with("revocation_reason[equal]", Some(COMPROMISED.name()));
    let found = listing::first(conditions, CERTIFICATE_FIELDS, async |request| {
        Ok(session.ca.certificates(&session.caller, request).await?)
    })
    .await?;
    for one in found.iter().chain(known) {
        ensure!(
            one.revocation_reason != COMPROMISED || key_id(one)? != key,
            "its key is compromised: the certificate {} was revoked for that. Its holder makes a new \
             key; --allow-compromised-key issues all the same",
            one.serial_number
        );
    }
    Ok(())
}

async fn with_same_key(
    session: &Session,
    old: &Certificate,
    profile: ProfileChoice,
) -> Result<Certificate> {
    if old.certificate_type == CertificateType::ImportedWithoutKey {
        bail!("its key is not here: its holder makes a request, which --csr names");
    }
    let names = general_names(old);
    let alternative_names: Vec<_> = names.iter().filter_map(AlternativeName::of).collect();
    ensure!(
        alternative_names.len() == names.len(),
        "its successor would lack some of the alternative names {}: make a request with them, and name it \
         by --csr",
        alternative_names_of(old).join(", ")
    );
    let request = NewOne {
        ca: CaId::from(old.issuer_metadata.id.as_str()),
        key: KeySource::Existing(KeyRef::from(key_id(old)?)),
        subject: old.subject.clone(),
        successor_of: Some(old.serial_number.clone()),
        alternative_names,
        profile,
        metadata: old.metadata.as_ref().map(inherited).unwrap_or_default(),
    };
    let made = session
        .ca
        .create_certificate(&session.caller, request)
        .await;
    Ok(made?)
}

/// Takes in the first certificate of a file, or all of them.
pub(super) async fn import(session: &Session, asked: &ImportCertificates) -> Result<()> {
    let path = &asked.file;
    let Bundle { ders, is_in_order } = files::bundle(path)?;
    let n_more = ders.len().saturating_sub(1);
    let n = if asked.all { ders.len() } else { 1 };
    if n_more > 0 && !asked.all {
        ensure!(
            is_in_order,
            "{} holds {} certificates in no order: --all imports all of them",
            path.display(),
            ders.len()
        );
        note(&format!(
            "only the first certificate of the file is imported; {n_more} behind it are passed over \
             without --all"
        ));
    }
    // All are read first: nothing is imported where one of them is none.
    let read = ders.into_iter().take(n);
    let read = read.map(|der| files::read_certificate(path, der));
    for (done, certificate) in read.collect::<Result<Vec<_>>>()?.into_iter().enumerate() {
        let request = ImportCertificate {
            certificate,
            metadata: Some(asked.metadata.to_map()),
        };
        let (ca, caller) = (&session.ca, &session.caller);
        let imported = ca.import_certificate(caller, request).await;
        let which = format!("certificate {} of {n}", done + 1);
        match imported {
            // An import that ended within a bundle is repeated.
            Err(CaError::CertificateExists) if n > 1 => {
                note(&format!("{which} is there already"));
            }
            Err(error) if n > 1 => return Err(error).context(which),
            outcome => print(session, &outcome?)?,
        }
    }
    Ok(())
}
