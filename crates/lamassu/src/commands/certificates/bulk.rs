//! Revoking many certificates, and watching jobs.

use anyhow::{Result, bail, ensure};
use clap::Args;
use lamassu_core::ca::{CaService as _, Job, JobStatus, RevokeCertificates};
use lamassu_core::ids::{CaId, JobId};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use tokio::signal::ctrl_c;

use super::ReasonArg;
use crate::commands::Session;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::fields::{CERTIFICATE_FIELDS, JOB_FIELDS};
use crate::commands::listing::{self, Conditions, ListArgs};
use crate::commands::output::{Record, Shape};
use crate::commands::profiles::id_of;
use crate::commands::progress::{self, Share, Watched};
use crate::commands::question::Question;
use crate::commands::values::{at, instant};

/// Revoke all certificates that fulfil some conditions.
#[derive(Clone, Debug, Args)]
pub(crate) struct BulkRevoke {
    /// Which this CA issued.
    #[arg(long, value_name = "CA")]
    ca: Option<String>,
    /// Which were issued under this profile, by id or name.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Which were issued or imported later than this.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    issued_after: Option<Timestamp>,
    /// Which were issued or imported earlier than this.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    issued_before: Option<Timestamp>,
    /// Which fulfil this, for example 'subject.common_name[contains]line-3'; repeatable.
    #[arg(long, value_name = "FIELD[OPERAND]VALUE")]
    filter: Vec<String>,
    /// Why.
    #[arg(long, value_name = "REASON", default_value = "Unspecified")]
    reason: ReasonArg,
    /// Do not wait for the end; `lamassu certificates job ID` shows how far it is.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    question: Question,
}

const JOBS: Shape<Job> = Shape {
    headings: &["ID", "KIND", "STATUS", "DONE", "TOTAL", "FAILED", "BEGAN"],
    row: |job, _| {
        vec![
            job.id.to_string(),
            job.kind.to_string(),
            job.status.to_string(),
            job.done.to_string(),
            job.total.to_string(),
            job.failed.to_string(),
            at(job.creation_ts),
        ]
    },
    id: |job| job.id.to_string(),
};

fn record(job: &Job) -> Record {
    vec![
        ("job", job.id.to_string()),
        ("kind", job.kind.to_string()),
        ("status", job.status.to_string()),
        ("done", format!("{} of {}", job.done, job.total)),
        ("failed", job.failed.to_string()),
        ("began", at(job.creation_ts)),
        ("error", job.error.clone()),
    ]
}

fn print(session: &Session, job: &Job) -> Result<()> {
    session.print(job, job.id.as_str(), || record(job))
}

impl BulkRevoke {
    /// The conditions as people read them.
    fn told(&self) -> Vec<String> {
        let named = [
            ("issued by the CA ", &self.ca),
            ("issued under the profile ", &self.profile),
        ];
        let named = named.into_iter().filter_map(|(what, value)| {
            let value = value.as_ref()?;
            Some(format!("{what}{value:?}"))
        });
        let times = [
            ("known since later than ", self.issued_after),
            ("known since earlier than ", self.issued_before),
        ];
        let times = times.into_iter().filter_map(|(what, time)| {
            let time = time?;
            Some(format!("{what}{time}"))
        });
        named
            .chain(times)
            .chain(self.filter.iter().cloned())
            .collect()
    }
}

pub(super) async fn revoke(session: &Session, asked: &BulkRevoke) -> Result<()> {
    let told = asked.told();
    ensure!(
        !told.is_empty(),
        "which certificates? say --ca, --profile, --issued-after, --issued-before or --filter"
    );
    let profile_id = match &asked.profile {
        Some(profile) => Some(id_of(session, profile).await?),
        None => None,
    };
    let ReasonArg(reason) = asked.reason;
    let request = RevokeCertificates {
        ca_id: asked.ca.as_deref().map(CaId::from),
        profile_id,
        issued_after: asked.issued_after.unwrap_or_default(),
        issued_before: asked.issued_before.unwrap_or_default(),
        filters: listing::filters(&asked.filter, CERTIFICATE_FIELDS)?,
        reason,
    };
    let number = number(session, asked).await.unwrap_or_default();
    asked.question.ask(&format!(
        "This revokes all {number}certificates that are {}, {}. Those of CAs are left alone.",
        told.join(" and "),
        asked.reason.for_good()
    ))?;
    let begun = session
        .ca
        .revoke_certificates(&session.caller, request)
        .await;
    let begun = match &asked.ca {
        Some(ca) => begun.about(About::ca(ca))?,
        None => begun?,
    };
    if asked.no_wait {
        return print(session, &begun);
    }
    follow(session, begun).await
}

/// How many certificates are meant, in words; `None` where nobody says.
async fn number(session: &Session, asked: &BulkRevoke) -> Option<String> {
    let of_status = async |condition: &str, value: &str| {
        let also = Conditions::default()
            .with("is_ca[equal]", Some("false"))
            .with(condition, Some(value));
        let filters = also.filters(&asked.filter, CERTIFICATE_FIELDS).ok()?;
        let (ca, caller) = (&session.ca, &session.caller);
        match &asked.ca {
            Some(id) => ca
                .stats_of_ca(caller, &CaId::from(id.as_str()), &filters)
                .await
                .ok(),
            None => {
                let stats = ca.stats(caller, &[], &filters).await.ok()?;
                Some(stats.certificates.status_distribution)
            }
        }
    };
    let hold = RevocationReason::CertificateHold.name();
    // One that was on hold may keep that as its reason.
    let all = of_status("is_ca[equal]", "false").await?;
    let held = of_status("revocation_reason[equal]", hold).await?;
    let n = all.active + all.expired + held.revoked;
    let has_more =
        asked.profile.is_some() || asked.issued_after.is_some() || asked.issued_before.is_some();
    Some(if has_more {
        format!("(at most {n}) ")
    } else {
        format!("{n} ")
    })
}

/// Shows how far a job is until it ends, then how it ended.
async fn follow(session: &Session, begun: Job) -> Result<()> {
    let share = |job: &Job| {
        (job.status == JobStatus::Running).then_some(Share {
            done: job.done.saturating_add(job.failed),
            total: job.total,
        })
    };
    let look = async |job: &Job| find(session, job.id.as_str()).await;
    let job = match progress::watch(begun, ctrl_c(), share, look).await? {
        Watched::Over(job) => job,
        Watched::Left(job) => bail!(
            "interrupted behind {} of {} certificates, and the server goes on: `lamassu certificates job {} --wait` \
             watches it",
            job.done,
            job.total,
            job.id
        ),
    };
    print(session, &job)?;
    if job.status == JobStatus::Failed || job.failed > 0 {
        bail!("not everything was done{}", reason(&job));
    }
    Ok(())
}

/// Why a job was given up, if it was.
fn reason(job: &Job) -> String {
    match job.error.as_str() {
        "" => format!(": {} could not be revoked", job.failed),
        why => format!(": {why}"),
    }
}

async fn find(session: &Session, job: &str) -> Result<Job> {
    let found = session.ca.job(&session.caller, &JobId::from(job)).await;
    found.about(About::new(Noun::Job, job))
}

pub(super) async fn jobs(session: &Session, list: &ListArgs) -> Result<()> {
    let request = list.request(JOB_FIELDS, Conditions::default())?;
    listing::print(session, list, request, &JOBS, async |request| {
        Ok(session.ca.jobs(&session.caller, request).await?)
    })
    .await
}

pub(super) async fn job(session: &Session, job: &str) -> Result<()> {
    print(session, &find(session, job).await?)
}

pub(super) async fn wait(session: &Session, job: &str) -> Result<()> {
    follow(session, find(session, job).await?).await
}
