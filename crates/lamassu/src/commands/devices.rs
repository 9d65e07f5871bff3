//! `lamassu devices`: the devices that are known, and fleets as files.

mod bulk;
mod change;
mod import;
mod rows;
mod show;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use lamassu_core::device::{CreateDevice as NewDevice, DeviceService as _};
use lamassu_core::dms::{BindDevice, DmsError, DmsService as _};
use lamassu_core::ids::{DeviceId, DmsId};

pub(super) use self::show::{LIST, counts};
use super::failure::{About, Noun, Refusal as _};
use super::listing::ListArgs;
use super::metadata::{MetadataChanges, NewMetadata};
use super::question::Question;
use super::{Commands, Session};

/// Devices, their identities and their status.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// List devices.
    #[command(visible_alias = "ls")]
    List(ListDevices),
    /// Show a device, its certificates and its history.
    Show {
        /// The device's id.
        device: String,
    },
    /// Register a device.
    Create(CreateDevice),
    /// Change the DMS, tags or metadata.
    Update(UpdateDevice),
    /// Retire devices for good: they renew no more, and their certificates are revoked.
    Decommission {
        /// The devices' ids.
        #[arg(value_name = "DEVICE", required = true)]
        devices: Vec<String>,
        #[command(flatten)]
        question: Question,
    },
    /// Remove the records of retired devices.
    #[command(visible_alias = "rm")]
    Delete {
        /// The devices' ids.
        #[arg(value_name = "DEVICE", required = true)]
        devices: Vec<String>,
        #[command(flatten)]
        question: Question,
    },
    /// List the groups that a device is in.
    Groups {
        /// The device's id.
        device: String,
    },
    /// Give a device a certificate that was issued without it.
    Bind {
        /// The device's id.
        device: String,
        /// The certificate's serial number.
        serial: String,
        /// What the device's history calls it: PROVISIONED, RE-PROVISIONED or RENEWED.
        #[arg(long, value_name = "MODE", default_value = "PROVISIONED")]
        mode: String,
    },
    /// Count devices by status.
    Stats {
        #[command(flatten)]
        which: Which,
        /// Which fulfil this, for example 'tags[contains]line-3'; repeatable.
        #[arg(long, value_name = "FIELD[OPERAND]VALUE")]
        filter: Vec<String>,
    },
    /// Register the devices of a file. It may be repeated: devices that are there already are passed over.
    /// A cell below metadata.NAME is read as JSON where it is some, and a number only where it would be written again
    /// as it is: 1.10 is a text.
    Import(ImportDevices),
    /// Write devices to a file, as they arrive.
    Export(ExportDevices),
}

/// Which devices.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Which {
    /// Which belong to this DMS.
    #[arg(long, value_name = "DMS")]
    dms: Option<String>,
    /// Which have this tag.
    #[arg(long, value_name = "TEXT")]
    tag: Option<String>,
    /// Whose id contains this, whatever the case.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
}

/// List devices.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListDevices {
    #[command(flatten)]
    which: Which,
    /// NO_IDENTITY, ACTIVE, RENEWAL_PENDING, EXPIRING_SOON, EXPIRED, REVOKED or DECOMMISSIONED.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Register a device.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateDevice {
    /// Its id: the common name of its certificates.
    device: String,
    /// The DMS that it belongs to.
    #[arg(long, value_name = "DMS")]
    dms: String,
    /// Tag; repeatable.
    #[arg(long, value_name = "TEXT")]
    tag: Vec<String>,
    /// Another name for it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    alias: String,
    #[command(flatten)]
    metadata: NewMetadata,
}

/// Change a device.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateDevice {
    /// The device's id.
    device: String,
    /// The DMS that it belongs to from now on.
    #[arg(long, value_name = "DMS")]
    dms: Option<String>,
    /// Give it these tags instead of those that it has; repeatable.
    #[arg(long, value_name = "TEXT")]
    tag: Vec<String>,
    /// Take all tags away.
    #[arg(long, conflicts_with = "tag")]
    no_tags: bool,
    #[command(flatten)]
    metadata: MetadataChanges,
}

/// In which form many devices are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FleetFormat {
    /// A table with a heading: id, dms_id, tags (separated by ;), alias, metadata.NAME, ….
    Csv,
    /// JSON, an object of the API per line.
    Jsonl,
}

/// Register the devices of a file.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportDevices {
    /// The file; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// In which form; by the end of the file's name when not said.
    #[arg(long, value_enum)]
    format: Option<FleetFormat>,
    /// The DMS of devices for which the file names none.
    #[arg(long, value_name = "DMS")]
    dms: Option<String>,
    /// Tag for all of them, beside those in the file; repeatable.
    #[arg(long, value_name = "TEXT")]
    tag: Vec<String>,
    /// Pass over so many devices at the beginning: an interrupted import says how many.
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
    /// Write what could not be registered to this file: an object per line, with the number of its line and why.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// So many at a time.
    #[arg(long, value_name = "N", default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,
    /// Only say what would become of the file, and what is wrong with it.
    #[arg(long)]
    dry_run: bool,
}

/// Write devices to a file.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportDevices {
    #[command(flatten)]
    which: Which,
    /// Which have this status.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Which fulfil this, for example 'metadata[jsonpath]$.plant == "A"'; repeatable.
    #[arg(long, value_name = "FIELD[OPERAND]VALUE")]
    filter: Vec<String>,
    /// The file; - is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// In which form; by the end of the file's name when not said, or else JSON.
    #[arg(long, value_enum)]
    format: Option<FleetFormat>,
    /// Keep spreadsheets from taking what a cell of the table begins with for a formula: an apostrophe goes before
    /// = + - and @. That is for looking at: an import takes the apostrophe for a part of the id.
    #[arg(long)]
    spreadsheet: bool,
    /// Go on where an interrupted export says that it stopped, with the same conditions; the file is
    /// written on.
    #[arg(long, value_name = "TEXT")]
    bookmark: Option<String>,
}

impl Commands for DevicesCommand {
    async fn run(&self, session: &Session) -> Result<()> {
        match self {
            Self::List(asked) => show::list(session, asked).await,
            Self::Show { device } => show::one(session, device).await,
            Self::Create(asked) => create(session, asked).await,
            Self::Update(asked) => change::update(session, asked).await,
            Self::Decommission { devices, question } => {
                change::decommission(session, devices, *question).await
            }
            Self::Delete { devices, question } => change::delete(session, devices, *question).await,
            Self::Groups { device } => show::groups(session, device).await,
            Self::Bind {
                device,
                serial,
                mode,
            } => bind(session, device, serial, mode).await,
            Self::Stats { which, filter } => show::stats(session, which, filter).await,
            Self::Import(asked) => import::import(session, asked).await,
            Self::Export(asked) => bulk::export(session, asked).await,
        }
    }
}

/// Checks that there is a DMS: the API takes any name.
pub(super) async fn require_dms(session: &Session, dms: &str) -> Result<()> {
    let found = session.dms.dms(&session.caller, &DmsId::from(dms)).await;
    match found {
        Err(error @ DmsError::DmsNotFound) => Err(error).about(About::new(Noun::Dms, dms)),
        // Whoever may register devices need not see DMSs.
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn create(session: &Session, asked: &CreateDevice) -> Result<()> {
    require_dms(session, &asked.dms).await?;
    let new = NewDevice {
        id: DeviceId::from(asked.device.as_str()),
        dms_id: DmsId::from(asked.dms.as_str()),
        tags: asked.tag.clone(),
        alias: asked.alias.clone(),
        metadata: asked.metadata.to_map(),
        ..NewDevice::default()
    };
    let made = session.devices.create_device(&session.caller, new).await?;
    show::print(session, &made)
}

async fn bind(session: &Session, device: &str, serial: &str, mode: &str) -> Result<()> {
    let request = BindDevice {
        device_id: DeviceId::from(device),
        certificate_serial_number: serial.to_owned(),
        bind_mode: mode.to_owned(),
    };
    let bound = session.dms.bind_device(&session.caller, request).await;
    let about = About::new(Noun::Device, device).and(Noun::Certificate, Some(serial));
    bound.about(about)?;
    show::one(session, device).await
}
