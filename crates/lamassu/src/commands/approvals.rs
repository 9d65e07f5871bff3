//! `lamassu approvals`: enrollments that somebody has to approve.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use lamassu_core::dms::approval::{Approval, ApprovalStatus, Decision, Verdict};
use lamassu_core::dms::{ApprovalRefusal, DmsError, DmsService as _};
use lamassu_core::ids::ApprovalId;
use lamassu_x509::CertificationRequest;

use super::devices::require_dms;
use super::failure::{About, Noun, Refusal as _};
use super::fields::APPROVAL_FIELDS;
use super::listing::{self, Conditions, ListArgs};
use super::output::{Record, Shape};
use super::values::{at, name};
use super::{Commands, Session};

/// Enrollments that somebody has to approve.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List what waits for a decision.
    #[command(visible_alias = "ls")]
    List(ListApprovals),
    /// Show one, and what the request asks for.
    Show {
        /// Its id.
        approval: String,
    },
    /// Let devices have their certificates; they get them when they ask the next time.
    Approve(Decide),
    /// Refuse devices their certificates.
    Deny(Decide),
}

/// List approvals.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListApprovals {
    /// PENDING, APPROVED, DENIED, ISSUED or EXPIRED; `any`: all of them. PENDING when not said, and any
    /// with --all.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Which came to this DMS.
    #[arg(long, value_name = "DMS")]
    dms: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Decide.
#[derive(Clone, Debug, Args)]
pub(crate) struct Decide {
    /// Their ids, or that of a device of which one request waits.
    #[arg(value_name = "APPROVAL", required = true)]
    approvals: Vec<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Stands for every status.
const ANY: &str = "ANY";

const LIST: Shape<Approval> = Shape {
    headings: &[
        "ID", "STATUS", "DMS", "DEVICE", "ASKED BY", "SINCE", "UNTIL",
    ],
    row: |approval, _| {
        vec![
            approval.id.to_string(),
            approval.status.name().to_owned(),
            approval.dms_id.to_string(),
            approval.device_id.to_string(),
            approval.requested_by.clone(),
            at(approval.creation_ts),
            at(approval.expiration_ts),
        ]
    },
    id: |approval| approval.id.to_string(),
};

impl Commands for ApprovalsCommand {
    async fn run(&self, session: &Session) -> Result<()> {
        match self {
            Self::List(asked) => list(session, asked).await,
            Self::Show { approval } => {
                let id = ApprovalId::from(approval.as_str());
                let found = session.dms.approval(&session.caller, &id).await;
                print(session, &found.about(About::new(Noun::Approval, approval))?)
            }
            Self::Approve(asked) => decide(session, asked, Verdict::Approve).await,
            Self::Deny(asked) => decide(session, asked, Verdict::Deny).await,
        }
    }
}

async fn list(session: &Session, asked: &ListApprovals) -> Result<()> {
    let status = match &asked.status {
        Some(status) => status.to_ascii_uppercase(),
        None if asked.list.is_all() => ANY.to_owned(),
        None => ApprovalStatus::Pending.name().to_owned(),
    };
    if let Some(dms) = &asked.dms {
        require_dms_of_approvals(session, dms).await?;
    }
    let status = Some(status).filter(|status| status != ANY);
    let conditions = Conditions::default()
        .with("status[equal]", status.as_deref())
        .with("dms_id[equal]", asked.dms.as_deref());
    let request = asked.list.request(APPROVAL_FIELDS, conditions)?;
    listing::print(session, &asked.list, request, &LIST, async |request| {
        Ok(session.dms.approvals(&session.caller, request).await?)
    })
    .await
}

/// Checks that there is the DMS whose approvals are asked for, or was one: an empty list would look like an answer.
async fn require_dms_of_approvals(session: &Session, dms: &str) -> Result<()> {
    let Err(missing) = require_dms(session, dms).await else {
        return Ok(());
    };
    let conditions = Conditions::default().with("dms_id[equal]", Some(dms));
    let of_it = listing::first(conditions, APPROVAL_FIELDS, async |request| {
        Ok(session.dms.approvals(&session.caller, request).await?)
    });
    match of_it.await?.is_empty() {
        true => Err(missing),
        false => Ok(()),
    }
}

async fn decide(session: &Session, asked: &Decide, verdict: Verdict) -> Result<()> {
    let (dms, caller) = (&session.dms, &session.caller);
    for approval in &asked.approvals {
        let decision = Decision {
            verdict,
            reason: asked.reason.clone(),
        };
        let id = ApprovalId::from(approval.as_str());
        let decided = match dms.decide_approval(caller, &id, decision.clone()).await {
            Err(DmsError::Approval(ApprovalRefusal::NotFound)) => {
                let id = waiting(session, approval).await?;
                dms.decide_approval(caller, &id, decision).await
            }
            decided => decided,
        };
        print(
            session,
            &decided.about(About::new(Noun::Approval, approval))?,
        )?;
    }
    Ok(())
}

/// The request of this device that waits, if there is one and no other.
async fn waiting(session: &Session, device: &str) -> Result<ApprovalId> {
    let conditions = Conditions::default()
        .with("status[equal]", Some(ApprovalStatus::Pending.name()))
        .with("device_id[equal]", Some(device));
    let found = listing::first(conditions, APPROVAL_FIELDS, async |request| {
        Ok(session.dms.approvals(&session.caller, request).await?)
    });
    match found.await?.as_slice() {
        [] => bail!("there is no approval {device:?}, and no request of a device of this id waits"),
        [one] => Ok(one.id.clone()),
        several => {
            let ids = several.iter().map(|one| one.id.as_str());
            bail!(
                "several requests of the device {device} wait: name one by its id: {}",
                ids.collect::<Vec<_>>().join(", ")
            )
        }
    }
}

fn print(session: &Session, approval: &Approval) -> Result<()> {
    session.print(approval, approval.id.as_str(), || record(approval))
}

fn record(approval: &Approval) -> Record {
    let csr = CertificationRequest::from_der(approval.csr.der().clone()).ok();
    let subject = csr.map(|csr| name(csr.subject()));
    vec![
        ("id", approval.id.to_string()),
        ("status", approval.status.name().to_owned()),
        ("DMS", approval.dms_id.to_string()),
        ("device", approval.device_id.to_string()),
        ("asks for", approval.operation.name().to_owned()),
        ("subject", subject.unwrap_or_default()),
        ("asked by", approval.requested_by.clone()),
        ("since", at(approval.creation_ts)),
        ("until", at(approval.expiration_ts)),
        ("decided", at(approval.decision_ts)),
        ("decided by", approval.decided_by.clone()),
        ("reason", approval.reason.clone()),
        ("certificate", approval.certificate_serial_number.clone()),
    ]
}
