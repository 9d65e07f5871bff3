//! Requests for CAs that somebody else certifies.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use lamassu_core::ca::{CaRequest, CaService as _, CreateCaRequest as NewRequest};
use lamassu_core::ids::CaRequestId;

use crate::commands::Session;
use crate::commands::certificates::key_kind;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::fields::REQUEST_FIELDS;
use crate::commands::files;
use crate::commands::listing::{self, Conditions, ListArgs};
use crate::commands::metadata::NewMetadata;
use crate::commands::output::{Record, Shape};
use crate::commands::progress;
use crate::commands::question::Question;
use crate::commands::values::{KeyArgs, SubjectArg, at, subject};

/// Requests for CAs that somebody else certifies.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RequestCommand {
    /// Make a key and a request for its certificate. `lamassu cas import` of the certificate that
    /// somebody else makes of it ends the request.
    #[command(
        after_help = "Example: lamassu cas request create --id plant-b --subject 'CN=Plant B,O=Example' --out plant-b.csr"
    )]
    Create(Box<CreateRequest>),
    /// List requests.
    #[command(visible_alias = "ls")]
    #[command(after_help = "Example: lamassu cas request list --status pending")]
    List {
        /// With this status.
        #[arg(
            long,
            value_name = "STATUS",
            ignore_case = true,
            value_parser = ["PENDING", "ISSUED"]
        )]
        status: Option<String>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a request.
    #[command(after_help = "Example: lamassu cas request show plant-b")]
    Show {
        /// The request's id.
        request: String,
    },
    /// Write the request for whoever signs it (PKCS#10, PEM).
    #[command(after_help = "Example: lamassu cas request export plant-b --out plant-b.csr")]
    Export {
        /// The request's id.
        request: String,
        /// The file; - is standard output.
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Delete a request. While it is pending, the key that was made for it is destroyed.
    #[command(visible_alias = "rm")]
    #[command(after_help = "Example: lamassu cas request delete plant-b")]
    Delete {
        /// The request's id.
        request: String,
        #[command(flatten)]
        question: Question,
    },
}

/// Make a request.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateRequest {
    /// Id; a UUID is made when not said.
    #[arg(long, value_name = "ID", default_value = "")]
    id: String,
    /// Subject, for example 'CN=Plant CA,O=Example,C=DE', or only a common name.
    #[arg(long, value_name = "NAME")]
    subject: SubjectArg,
    /// Write the request here (PKCS#10, PEM).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    metadata: NewMetadata,
}

const REQUESTS: Shape<CaRequest> = Shape {
    headings: &["ID", "STATUS", "COMMON NAME", "KEY", "ENGINE", "CREATED"],
    row: |request, _| {
        vec![
            request.id.to_string(),
            request.status.to_string(),
            request.subject.common_name.clone(),
            key_kind(&request.key_metadata),
            request.engine_id.to_string(),
            at(request.creation_ts),
        ]
    },
    id: |request| request.id.to_string(),
};

fn record(request: &CaRequest) -> Record {
    vec![
        ("id", request.id.to_string()),
        ("status", request.status.to_string()),
        ("subject", subject(&request.subject)),
        ("key", key_kind(&request.key_metadata)),
        ("key id", request.key_id.to_string()),
        ("engine", request.engine_id.to_string()),
        ("created", at(request.creation_ts)),
        ("certificate (SHA-256)", request.fingerprint.clone()),
    ]
}

fn print(session: &Session, request: &CaRequest) -> Result<()> {
    session.print(request, request.id.as_str(), || record(request))
}

pub(super) async fn run(session: &Session, command: &RequestCommand) -> Result<()> {
    match command {
        RequestCommand::Create(asked) => create(session, asked).await,
        RequestCommand::List { status, list } => {
            let status = status.as_deref().map(str::to_ascii_uppercase);
            let conditions = Conditions::default().with("status[equal]", status.as_deref());
            let request = list.request(REQUEST_FIELDS, conditions)?;
            listing::print(session, list, request, &REQUESTS, async |request| {
                Ok(session.ca.ca_requests(&session.caller, request).await?)
            })
            .await
        }
        RequestCommand::Show { request } => print(session, &find(session, request).await?),
        RequestCommand::Export { request, out } => {
            let request = find(session, request).await?;
            files::write(out, request.csr.to_pem().as_bytes())
        }
        RequestCommand::Delete { request, question } => delete(session, request, *question).await,
    }
}

async fn find(session: &Session, request: &str) -> Result<CaRequest> {
    let id = CaRequestId::from(request);
    let found = session.ca.ca_request(&session.caller, &id).await;
    found.about(About::new(Noun::Request, request))
}

async fn create(session: &Session, asked: &CreateRequest) -> Result<()> {
    let SubjectArg(subject) = &asked.subject;
    asked.out.as_deref().map_or(Ok(()), files::check_write)?;
    let request = NewRequest {
        id: CaRequestId::from(asked.id.as_str()),
        subject: subject.clone(),
        key: asked.key.source(),
        metadata: asked.metadata.to_map(),
    };
    let wait = progress::waiting("making the key");
    let made = session.ca.create_ca_request(&session.caller, request).await;
    wait.finish();
    let about = About::default()
        .and(Noun::Key, asked.key.key())
        .and(Noun::Engine, asked.key.engine());
    let made = made.about(about)?;
    if let Some(path) = &asked.out {
        files::write(path, made.csr.to_pem().as_bytes())?;
        if path == std::path::Path::new("-") {
            return Ok(());
        }
    }
    print(session, &made)
}

async fn delete(session: &Session, request: &str, question: Question) -> Result<()> {
    let found = find(session, request).await?;
    question.ask(&format!(
        "This deletes the request {request:?}, which is {}.",
        found.status
    ))?;
    session
        .ca
        .delete_ca_request(&session.caller, &found.id)
        .await?;
    session.done(request, &format!("request {request} is deleted"))
}
