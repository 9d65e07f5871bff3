//! Making CAs and taking in those that were made elsewhere.

use std::sync::Arc;

use anyhow::{Result, ensure};
use lamassu_core::ca::{CaService as _, CreateCa as NewCa, ImportCa as ForeignCa};
use lamassu_core::ids::{CaId, EngineId, ProfileId};
use lamassu_core::pem::CertificateDer;
use lamassu_core::timestamp::Timestamp;
use lamassu_crypto::HashAlgorithm;

use super::show::print;
use super::{CreateCa, ImportCa};
use crate::commands::Session;
use crate::commands::certificates::tell_doubts;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::fields::AUTHORITY_FIELDS;
use crate::commands::files;
use crate::commands::keys::known_engine;
use crate::commands::listing::{self, Conditions};
use crate::commands::output::note;
use crate::commands::profiles::{choice, id_of};
use crate::commands::progress;
use crate::commands::values::{Lifetime, SubjectArg, at};

pub(super) async fn create(session: &Session, asked: &CreateCa) -> Result<()> {
    let SubjectArg(subject) = &asked.subject;
    let Lifetime(expiration) = &asked.validity;
    ensure!(
        expiration.time.is_zero() || expiration.time > Timestamp(Session::now()),
        "--validity {} is over already",
        at(expiration.time)
    );
    if let Some(profile) = &asked.ca_profile {
        require_ca_profile(session, profile).await?;
    }
    let request = NewCa {
        id: CaId::from(asked.id.as_str()),
        parent: asked.issuer.as_deref().map(CaId::from),
        subject: subject.clone(),
        key: asked.key.source(),
        expiration: expiration.clone(),
        profile_id: id_of(session, &asked.profile).await?,
        metadata: asked.metadata.to_map(),
        ca_profile: choice(session, asked.ca_profile.as_deref()).await?,
        crl_shards: asked.crl_shards,
    };
    let wait = progress::waiting("making the CA");
    let made = session.ca.create_ca(&session.caller, request).await;
    wait.finish();
    let about = About::default()
        .and(Noun::Ca, asked.issuer.as_deref())
        .and(Noun::Key, asked.key.key())
        .and(Noun::Engine, asked.key.engine());
    let made = made.about(about)?;
    tell_doubts(session, &made.certificate).await;
    print(session, &made)
}

/// Checks that a profile is one for CAs: the server would not say which value is wrong.
async fn require_ca_profile(session: &Session, name: &str) -> Result<()> {
    let id = id_of(session, name).await?;
    let profile = session.ca.profile(&session.caller, &id).await;
    let profile = profile.about(About::new(Noun::Profile, name))?;
    ensure!(
        profile.sign_as_ca,
        "the profile {name:?} is none for CAs: those are made with --sign-as-ca"
    );
    Ok(())
}

pub(super) async fn import(session: &Session, asked: &ImportCa) -> Result<()> {
    let engine = asked.engine.as_deref();
    // The server would take the default one instead, for clients that name engines of other installations.
    known_engine(session, engine).await?;
    let private_key = match &asked.private_key {
        Some(path) => {
            files::not_both_stdin(&asked.certificate, path)?;
            Some(Arc::new(files::private_key(path)?))
        }
        None => None,
    };
    let (certificate, n_more) = match private_key {
        Some(_) => files::certificate(&asked.certificate)?,
        None => files::certificate_alone(&asked.certificate)?,
    };
    if n_more > 0 {
        note(&format!(
            "only the first certificate of the file is imported; {n_more} behind it are passed over"
        ));
    }
    let same = imported_as(session, &certificate).await;
    if !same.is_empty() && !same.contains(&asked.id) {
        asked.question.ask(&format!(
            "This CA is here already, as {}: this makes another one with the same certificate.",
            same.join(", ")
        ))?;
    }
    let profile_id = match &asked.profile {
        Some(profile) => id_of(session, profile).await?,
        None => ProfileId::default(),
    };
    let request = ForeignCa {
        id: CaId::from(asked.id.as_str()),
        certificate,
        private_key,
        profile_id,
        engine_id: EngineId::from(engine.unwrap_or_default()),
        parent: asked.issuer.as_deref().map(CaId::from),
        crl_shards: asked.crl_shards,
    };
    let imported = session.ca.import_ca(&session.caller, request).await;
    let about = About::default()
        .and(Noun::Engine, engine)
        .and(Noun::Ca, asked.issuer.as_deref());
    let imported = imported.about(about)?;
    let held = imported.certificate.engine_id.as_str();
    if engine.is_some_and(|engine| engine != held) {
        note(&format!("warning: its key is in the engine {held}"));
    }
    tell_doubts(session, &imported.certificate).await;
    print(session, &imported)
}

/// The CAs that have this certificate. Whoever may not list them is not asked about them.
async fn imported_as(session: &Session, certificate: &CertificateDer) -> Vec<String> {
    let fingerprint = hex::encode(HashAlgorithm::Sha256.digest(certificate.der()));
    let conditions = Conditions::default().with("fingerprint[equal]", Some(&fingerprint));
    let list = listing::first(conditions, AUTHORITY_FIELDS, async |request| {
        Ok(session.ca.cas(&session.caller, request).await?)
    });
    let list = list.await.unwrap_or_default();
    list.iter().map(|one| one.id.to_string()).collect()
}
