//! Writing many devices, page by page.

use std::io::Write;

use anyhow::{Context as _, Error, Result, ensure};
use lamassu_core::device::{Device, DeviceService as _};
use lamassu_core::query::ListRequest;

use super::rows::{EXPORTED, as_text, cells, format};
use super::show::require_owner;
use super::{ExportDevices, FleetFormat};
use crate::commands::Session;
use crate::commands::fields::DEVICE_FIELDS;
use crate::commands::files::{self, Start};
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
    ensure!(
        !asked.spreadsheet || form == FleetFormat::Csv,
        "--spreadsheet is for tables: say --format csv"
    );
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
    files::check_write(&asked.out)?;
    let mut out = None;
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
        let out = match &mut out {
            Some(out) => out,
            // Not before there is an answer: a refusal leaves the file as it was.
            None => out.insert(opened(asked, form)?),
        };
        // Whole pages only, so that a bookmark is where the file ends.
        out.write_all(&rendered(asked, form, &page.list)?)
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

/// Where the devices go, behind the heading of a table.
fn opened(asked: &ExportDevices, form: FleetFormat) -> Result<Box<dyn Write + Send>> {
    if asked.bookmark.is_some() {
        return files::writer(&asked.out, Start::Behind);
    }
    let mut out = files::writer(&asked.out, Start::Anew)?;
    if form == FleetFormat::Csv {
        out.write_all(&table(std::iter::once(heading()))?)?;
    }
    Ok(out)
}

fn heading() -> Vec<String> {
    let names = EXPORTED.into_iter().chain(["metadata"]);
    names.map(str::to_owned).collect()
}

fn rendered(asked: &ExportDevices, form: FleetFormat, devices: &[Device]) -> Result<Vec<u8>> {
    if form == FleetFormat::Csv {
        let rows = devices.iter().map(cells);
        return match asked.spreadsheet {
            true => table(rows.map(|row| row.map(as_text).to_vec())),
            false => table(rows.map(|row| row.to_vec())),
        };
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
