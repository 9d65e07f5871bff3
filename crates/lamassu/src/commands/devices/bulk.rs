//! Writing many devices, page by page.

use std::fs::File;
use std::io::{self, Write};

use anyhow::{Context as _, Error, Result};
use lamassu_core::device::{Device, DeviceService as _};
use lamassu_core::query::ListRequest;

use super::rows::{EXPORTED, cells, format};
use super::show::require_owner;
use super::{ExportDevices, FleetFormat};
use crate::commands::Session;
use crate::commands::fields::DEVICE_FIELDS;
use crate::commands::output::note;
use crate::commands::progress;

/// Devices that are asked for at once.
const PAGE: u32 = 500;

pub(super) async fn export(session: &Session, asked: &ExportDevices) -> Result<()> {
    require_owner(session, &asked.which).await?;
    let form = match asked.out.as_os_str() == "-" {
        true => asked.format.unwrap_or(FleetFormat::Jsonl),
        false => format(asked.format, &asked.out)?,
    };
    let owner = asked.which.owner();
    let status = asked.status.as_ref().map(|text| text.to_ascii_uppercase());
    let conditions = asked
        .which
        .conditions()
        .with("status[equal]", status.as_deref());
    let mut request = ListRequest {
        page_size: PAGE,
        filters: conditions.filters(&asked.filter, DEVICE_FIELDS)?,
        bookmark: asked.bookmark.clone(),
        ..ListRequest::default()
    };
    let mut out = opened(asked)?;
    if form == FleetFormat::Csv && asked.bookmark.is_none() {
        out.write_all(&table(std::iter::once(heading()))?)?;
    }
    let progress = progress::waiting("writing devices");
    let mut n = 0;
    loop {
        let page = tokio::select! {
            page = session.devices.devices(&session.caller, owner.as_ref(), &request) => {
                page.map_err(Error::from)
            }
            _ = tokio::signal::ctrl_c() => Err(Error::msg("interrupted")),
        };
        if let (Err(_), Some(bookmark)) = (&page, &request.bookmark) {
            note(&format!(
                "stopped behind {n} devices: --bookmark {bookmark} goes on"
            ));
        }
        let page = page?;
        // Whole pages only, so that a bookmark is where the file ends.
        out.write_all(&rendered(form, &page.list)?)
            .and_then(|()| out.flush())
            .context("the devices cannot be written")?;
        n += page.list.len();
        if page.next.is_empty() {
            break;
        }
        request.bookmark = Some(page.next);
    }
    progress.finish();
    note(&format!("{n} devices are written"));
    Ok(())
}

fn opened(asked: &ExportDevices) -> Result<Box<dyn Write + Send>> {
    if asked.out.as_os_str() == "-" {
        return Ok(Box::new(io::stdout()));
    }
    let mut options = File::options();
    let file = match asked.bookmark {
        None => options
            .write(true)
            .create(true)
            .truncate(true)
            .open(&asked.out),
        Some(_) => options.append(true).open(&asked.out),
    };
    let file = file.with_context(|| format!("{} cannot be written", asked.out.display()))?;
    Ok(Box::new(file))
}

fn heading() -> Vec<String> {
    let names = EXPORTED.into_iter().chain(["metadata"]);
    names.map(str::to_owned).collect()
}

fn rendered(form: FleetFormat, devices: &[Device]) -> Result<Vec<u8>> {
    if form == FleetFormat::Csv {
        return table(devices.iter().map(|device| cells(device).to_vec()));
    }
    let mut lines = Vec::new();
    for device in devices {
        serde_json::to_writer(&mut lines, device)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn table(rows: impl Iterator<Item = Vec<String>>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().context("the devices cannot be written")
}
