//! Enrollment passwords, for devices without a certificate, and enrollments that were refused.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use lamassu_core::dms::settings::AUTH_PASSWORD;
use lamassu_core::dms::{
    CreatePasswords, DmsService as _, EnrollmentPassword, NewPassword, RefusedEnrollment,
};
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::{DeviceId, DmsId};
use serde::Serialize;

use crate::commands::Session;
use crate::commands::devices::require_dms;
use crate::commands::dms::{Refused, find};
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::fields::{PASSWORD_FIELDS, REFUSED_FIELDS};
use crate::commands::files;
use crate::commands::listing::{self, Conditions, ListArgs};
use crate::commands::output::{ListPrinter, Shape, note};
use crate::commands::question::Question;
use crate::commands::values::{at, lasting};

/// Enrollment passwords of a DMS.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PasswordsCommand {
    /// Make passwords. They are shown this once.
    Create(Create),
    /// List passwords, without what they are.
    #[command(visible_alias = "ls")]
    List {
        /// The DMS's id.
        dms: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Revoke a password.
    Revoke {
        /// The DMS's id.
        dms: String,
        /// The password's id.
        password: String,
        #[command(flatten)]
        question: Question,
    },
}

/// Make passwords.
#[derive(Clone, Debug, Args)]
pub(crate) struct Create {
    /// The DMS's id.
    dms: String,
    /// One for this device, whose id is the user name; repeatable.
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
    /// So many that are good for any device.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "device")]
    count: u32,
    /// The user name of these; each has its own when not said.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        conflicts_with = "device"
    )]
    user: String,
    /// How often each may be used.
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// How long each is good, for example 30d; until it is revoked when not said.
    #[arg(long, value_name = "DURATION", value_parser = lasting)]
    expires_in: Option<WireDuration>,
    /// Write the password to this file, for its owner alone; only where there is one.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A new password as it is printed.
#[derive(Serialize)]
struct Shown {
    id: String,
    username: String,
    device_id: String,
    password: String,
}

impl From<NewPassword> for Shown {
    fn from(new: NewPassword) -> Self {
        Self {
            id: new.id,
            username: new.username,
            device_id: new.device_id.to_string(),
            password: new.password,
        }
    }
}

const NEW: Shape<Shown> = Shape {
    headings: &["USER", "PASSWORD", "DEVICE", "ID"],
    row: |new, _| {
        vec![
            new.username.clone(),
            new.password.clone(),
            new.device_id.clone(),
            new.id.clone(),
        ]
    },
    id: |new| new.id.clone(),
};

const PASSWORDS: Shape<EnrollmentPassword> = Shape {
    headings: &["ID", "USER", "DEVICE", "USED", "UNTIL", "REVOKED"],
    row: |password, _| {
        vec![
            password.id.clone(),
            password.username.clone(),
            password.device_id.to_string(),
            format!("{} of {}", password.uses, password.max_uses),
            password.expiration_ts.map(at).unwrap_or_default(),
            password.revocation_ts.map(at).unwrap_or_default(),
        ]
    },
    id: |password| password.id.clone(),
};

const REFUSED: Shape<RefusedEnrollment> = Shape {
    headings: &[
        "TIME",
        "DMS",
        "DEVICE",
        "STATUS",
        "CODE",
        "REASON",
        "CERTIFICATE",
        "ADDRESS",
    ],
    row: |refused, _| {
        vec![
            at(refused.creation_ts),
            refused.dms_id.to_string(),
            refused.device_id.to_string(),
            refused.status.to_string(),
            refused.code.clone(),
            refused.reason.clone(),
            refused.certificate.clone(),
            refused.address.clone(),
        ]
    },
    id: |refused| refused.id.clone(),
};

pub(super) async fn run(session: &Session, command: &PasswordsCommand) -> Result<()> {
    match command {
        PasswordsCommand::Create(asked) => create(session, asked).await,
        PasswordsCommand::List { dms, list } => passwords(session, dms, list).await,
        PasswordsCommand::Revoke {
            dms,
            password,
            question,
        } => {
            question.ask(&format!("This revokes the password {password}, for good."))?;
            let id = DmsId::from(dms.as_str());
            let revoked = session.dms.revoke_password(&session.caller, &id, password);
            revoked.await.about(About::new(Noun::Dms, dms))?;
            session.done(password, &format!("password {password} is revoked"))
        }
    }
}

async fn create(session: &Session, asked: &Create) -> Result<()> {
    ensure!(
        asked.out.is_none() || (asked.count == 1 && asked.device.len() <= 1),
        "--out is for one password: leave it out, or ask for one"
    );
    if let Some(path) = &asked.out {
        // It may be the only copy of a password that is still good.
        ensure!(
            !std::fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() > 0),
            "{} is there already: name another file, or remove this one",
            path.display()
        );
        files::check_replace(path)?;
    }
    let settings = find(session, &asked.dms).await?.settings;
    let devices = asked
        .device
        .iter()
        .map(|device| DeviceId::from(device.as_str()));
    let request = CreatePasswords {
        device_ids: devices.collect(),
        count: if asked.device.is_empty() {
            asked.count
        } else {
            0
        },
        username: asked.user.clone(),
        max_uses: asked.uses,
        expires_in: asked.expires_in.unwrap_or_default(),
    };
    let id = DmsId::from(asked.dms.as_str());
    let made = session.dms.create_passwords(&session.caller, &id, request);
    let made = made.await.about(About::new(Noun::Dms, &asked.dms))?;
    let made: Vec<_> = made.list.into_iter().map(Shown::from).collect();
    let renewal = settings.reenrollment_settings.est_rfc7030_settings;
    let enrollment = settings.enrollment_settings.est_rfc7030_settings;
    let takes_passwords = |mode: &str| mode == AUTH_PASSWORD;
    if !takes_passwords(&enrollment.auth_mode)
        && !renewal.is_some_and(|renewal| takes_passwords(&renewal.auth_mode))
    {
        note(&format!(
            "warning: {dms} takes no passwords: `lamassu dms update {dms} --auth password` has its devices enroll by \
             them",
            dms = asked.dms
        ));
    }
    if let (Some(path), [only]) = (&asked.out, made.as_slice()) {
        files::replace(path, format!("{}\n", only.password).as_bytes())?;
        return session.done(
            &only.id,
            &format!("the password of {} is written", only.username),
        );
    }
    let mut printer = ListPrinter::new(session, &NEW);
    printer.page(&made)?;
    printer.end()
}

async fn passwords(session: &Session, dms: &str, list: &ListArgs) -> Result<()> {
    let request = list.request(PASSWORD_FIELDS, Conditions::default())?;
    let id = DmsId::from(dms);
    listing::print(session, list, request, &PASSWORDS, async |request| {
        let page = session.dms.passwords(&session.caller, &id, request).await;
        page.about(About::new(Noun::Dms, dms))
    })
    .await
}

pub(super) async fn refused(session: &Session, asked: &Refused) -> Result<()> {
    let conditions = Conditions::default()
        .with("dms_id[equal]", asked.dms.as_deref())
        .with("device_id[equal]", asked.device.as_deref());
    // Those of one that was deleted are listed.
    if let Some(dms) = &asked.dms
        && let Err(missing) = require_dms(session, dms).await
    {
        note(&format!("warning: {missing}"));
    }
    let list = asked.list.newest_first("creation_ts");
    let request = list.request(REFUSED_FIELDS, conditions)?;
    listing::print(session, &list, request, &REFUSED, async |request| {
        let (dms, caller) = (&session.dms, &session.caller);
        Ok(dms.refused_enrollments(caller, request).await?)
    })
    .await
}
