//! `lamassu approvals`: enrollments that somebody has to approve.

use anyhow::Result;
use clap::{Args, Subcommand};
use lamassu_core::dms::DmsService as _;
use lamassu_core::dms::approval::{Approval, Decision, Verdict};
use lamassu_core::ids::ApprovalId;
use lamassu_x509::CertificationRequest;

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
    /// PENDING, APPROVED, DENIED, ISSUED or EXPIRED; `any`: all of them.
    #[arg(long, value_name = "STATUS", default_value = "PENDING")]
    status: String,
    /// Which came to this DMS.
    #[arg(long, value_name = "DMS")]
    dms: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Decide.
#[derive(Clone, Debug, Args)]
pub(crate) struct Decide {
    /// Their ids.
    #[arg(value_name = "APPROVAL", required = true)]
    approvals: Vec<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

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
    let status = asked.status.to_ascii_uppercase();
    let status = (status != "ANY").then_some(status.as_str());
    let conditions = Conditions::default()
        .with("status[equal]", status)
        .with("dms_id[equal]", asked.dms.as_deref());
    let request = asked.list.request(APPROVAL_FIELDS, conditions)?;
    listing::print(session, &asked.list, request, &LIST, async |request| {
        Ok(session.dms.approvals(&session.caller, request).await?)
    })
    .await
}

async fn decide(session: &Session, asked: &Decide, verdict: Verdict) -> Result<()> {
    for approval in &asked.approvals {
        let id = ApprovalId::from(approval.as_str());
        let decision = Decision {
            verdict,
            reason: asked.reason.clone(),
        };
        let (dms, caller) = (&session.dms, &session.caller);
        let decided = dms.decide_approval(caller, &id, decision).await;
        print(
            session,
            &decided.about(About::new(Noun::Approval, approval))?,
        )?;
    }
    Ok(())
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
