//! `lamassu restore`: a backup becomes a data directory, whole or not at all.
//!
//! Everything is unpacked beside the data directory, compared with the digests, and checked by
//! opening the database; only then the directory gets its name, in one step. The database is told
//! when that happened: what was published after the backup was taken is not known to it, and CRL
//! numbers must go on above those (`lamassu_va`).
//!
//! The database of a backup from PostgreSQL is a dump, which stays one: putting it into a server, and
//! telling that database, is left to whoever owns the server.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead as _, BufReader, Read, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_db::{
    DataDir, Db, SqliteOptions, check_sqlite, create_private_dir, installation_id, mark_restored,
};
use tempfile::TempDir;

use crate::age::{self, Decryptor};
use crate::archive::{self, Manifest};
use crate::backup::dump::DUMP;
use crate::backup::note;
use crate::cli::Restore;
use crate::passphrase;
use crate::temporaries::{Temporaries, interruptible};

/// Restores a backup.
///
/// # Errors
/// One sentence; the data directory is as it was then.
pub(crate) async fn run(arguments: &Restore) -> Result<()> {
    let arguments = arguments.clone();
    interruptible(async move |temporaries| restore(&arguments, &temporaries).await).await
}

async fn restore(arguments: &Restore, temporaries: &Temporaries) -> Result<()> {
    let target = arguments.data_dir.as_path();
    require_free(target)?;
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_private_dir(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
    let staging = temporaries.make(
        || {
            tempfile::Builder::new()
                .prefix(".lamassu-restore-")
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(parent)
                .with_context(|| format!("{} cannot be written", parent.display()))
        },
        TempDir::path,
    )?;
    let input = Input {
        archive: open(arguments)?,
        temporaries: temporaries.clone(),
    };
    let manifest = archive::unpack(input, staging.path())
        .with_context(|| format!("{} is not restored", arguments.from.display()))?;
    if !staging.path().join(DUMP).exists() {
        settle(staging.path(), &manifest).await?;
    }
    temporaries.settle(|| {
        fs::rename(staging.path(), target).with_context(|| {
            format!(
                "{} cannot be put in place; where that is a mount point, name a directory in it",
                target.display()
            )
        })
    })?;
    // It has its new name: nothing is left to remove.
    let _moved = staging.keep();
    File::open(parent)?.sync_all()?;
    report(target, &manifest)
}

/// The archive, until the restore is interrupted.
struct Input {
    archive: Box<dyn Read>,
    temporaries: Temporaries,
}

impl Read for Input {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        self.temporaries.check()?;
        self.archive.read(octets)
    }
}

/// Only what does not exist or is empty is restored to.
fn require_free(target: &Path) -> Result<()> {
    match fs::read_dir(target) {
        Ok(mut entries) => {
            ensure!(
                entries.next().is_none(),
                "data directory {} is not empty",
                target.display()
            );
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("{} cannot be restored to", target.display()))
        }
    }
}

/// The archive, decrypted if need be.
fn open(arguments: &Restore) -> Result<Box<dyn Read>> {
    let file = File::open(&arguments.from)
        .with_context(|| format!("{} cannot be read", arguments.from.display()))?;
    let mut input = BufReader::new(file);
    let encrypted = input.fill_buf()?.starts_with(age::MAGIC);
    input.rewind()?;
    if !encrypted {
        if arguments.passphrase_file.is_some() {
            note(&format!(
                "warning: {} is not encrypted: whoever has it has the keys, and the passphrase is not needed",
                arguments.from.display()
            ));
        }
        return Ok(Box::new(input));
    }
    let file = arguments
        .passphrase_file
        .as_deref()
        .context("the backup is encrypted: --passphrase-file is missing")?;
    let decryptor = Decryptor::new(input, &passphrase::read(file)?)
        .with_context(|| format!("{} cannot be decrypted", arguments.from.display()))?;
    Ok(Box::new(decryptor))
}

/// Checks the database, and tells it that it was restored.
async fn settle(directory: &Path, manifest: &Manifest) -> Result<()> {
    check_sqlite(directory).context("the database in the backup cannot be used")?;
    let clock: SharedClock = Arc::new(SystemClock);
    let owned = DataDir::open(directory)?;
    let db = Db::open_sqlite(owned, SqliteOptions::default(), clock).await?;
    let id = installation_id(&db).await?;
    ensure!(
        id.to_string() == manifest.installation_id,
        "the backup's manifest is of another installation than its database"
    );
    mark_restored(&db, db.now()).await?;
    db.close().await;
    // The lock belongs to whoever opens the directory next.
    fs::remove_file(directory.join("lock"))?;
    File::open(directory)?.sync_all()?;
    Ok(())
}

fn report(target: &Path, manifest: &Manifest) -> Result<()> {
    let mut text = format!(
        "restored to {} as of {}\nwhat happened since is not in it: see \"After a restore\" in \
         docs/operations.md before devices connect",
        target.display(),
        manifest.created_at
    );
    for (place, original) in &manifest.moved {
        text.push_str(&format!(
            "\nmove what is in {} to {}",
            target.join(place).display(),
            original.display()
        ));
    }
    let dump = target.join(DUMP);
    if dump.exists() {
        text.push_str(&format!(
            "\nput the database in place before any process starts: pg_restore --dbname=… {}, then \
             lamassu migrate --restored",
            dump.display()
        ));
    }
    crate::print(&text)
}
