//! Writing a file so that a crash leaves the old one or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::GatewayError;

/// Who may read a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Readers {
    /// The owner, mode 0600.
    Owner,
    /// Everybody, mode 0644.
    Everybody,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }
}

/// Creates the directory with its parents; everybody may look for the trust anchor in it.
pub(super) fn ensure_dir(dir: &Path) -> Result<(), GatewayError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(dir);
    // The directory's own name must survive a power cut, too.
    let synced = made.and_then(|()| match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) | None => Ok(()),
    });
    synced.map_err(|source| GatewayError::FileUnwritable {
        path: dir.to_owned(),
        source,
    })
}

/// Replaces `path` by `content`, durably.
pub(super) fn replace(path: &Path, content: &[u8], readers: Readers) -> Result<(), GatewayError> {
    let temporary = path.with_extension("new");
    write_and_rename(&temporary, path, content, readers).map_err(|source| {
        GatewayError::FileUnwritable {
            path: path.to_owned(),
            source,
        }
    })
}

fn write_and_rename(
    temporary: &Path,
    path: &Path,
    content: &[u8],
    readers: Readers,
) -> io::Result<()> {
    // What an earlier crash left may have another mode.
    match fs::remove_file(temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(readers.mode())
        .open(temporary)?;
    // The mode at creation is subject to the umask.
    file.set_permissions(fs::Permissions::from_mode(readers.mode()))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}
