//! `lamassu backup`: everything of an installation in one file, beside a running server.
//!
//! Order is what makes it whole. The copy of the database is taken first; then come the keys that
//! its rows name. A key's file is there before its row is shown, so what the copy names exists,
//! unless it was deleted in between: then the copy is taken again, and does not name it any more.
//! Keys made after the copy are not in the backup, nor are those that were in the making: their
//! pending rows are settled by the reaper after a restore. CRL files come last; one that was swept
//! in between was not the newest any more, and after a restore every CA makes a new one.
//!
//! On PostgreSQL the copy of the database is a dump ([`dump`]); everything else is the same, for the
//! directories of the process whose configuration is given.
//!
//! What is in the backup under the target's name is whole: it is written under another name beside
//! it, synced and renamed. An older file of that name may be the only backup, so that replacing it
//! has to be asked for.

pub(crate) mod dump;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use lamassu_core::clock::{Clock as _, SystemClock};
use lamassu_core::crypto_engine::KeyHandle;
use lamassu_core::ids::EngineId;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{Db, copy_sqlite, installation_id};
use lamassu_kms::{EngineKind, handles_of_engine};
use lamassu_va::CRL_ROOT;
use rustix::fs::{FlockOperation, flock};
use secrecy::SecretString;
use tempfile::NamedTempFile;

use crate::age::Encryptor;
use crate::archive::{ArchiveWriter, FORMAT, Manifest};
use crate::cli::Backup;
use crate::config::Config;
use crate::passphrase;
use crate::storage::{self, Provider};
use crate::temporaries::{Temporaries, interruptible};
use crate::{engines, version};

/// The database's name in the data directory and in the backup.
const DATABASE: &str = "lamassu.db";

/// Where the copy of the database is while it is packed: it is as secret as the original.
const WORKSPACE: &str = ".backup";

/// The certificates of the server in the data directory and in the backup.
const TLS: &str = "tls";

/// CRLs in the backup where their directory is elsewhere.
const CRLS: &str = "crl";

/// Where in the workspace key files are kept that may be deleted meanwhile.
const KEPT: &str = "kept";

/// How often the copy is taken again because keys were deleted meanwhile.
const MAX_ATTEMPTS: u32 = 5;

/// Keys per query.
const PAGE: u32 = 1_000;

/// Writes a backup.
///
/// # Errors
/// One sentence; there is no file then.
pub(crate) async fn run(arguments: &Backup) -> Result<()> {
    ensure!(
        arguments.to != Path::new("-"),
        "a backup is written to a file, which has its name once it is whole: name one by --to"
    );
    let arguments = arguments.clone();
    interruptible(async move |temporaries| write(&arguments, &temporaries).await).await
}

async fn write(arguments: &Backup, temporaries: &Temporaries) -> Result<()> {
    let config = Config::load(&arguments.installation)?;
    let passphrase = arguments
        .encrypt_with_passphrase_file
        .as_deref()
        .map(passphrase::read)
        .transpose()?;
    storage::require_installation(&config)?;
    let target = Target {
        path: &arguments.to,
        existing: if arguments.force {
            Existing::Replaced
        } else {
            Existing::Kept
        },
        passphrase: passphrase.as_ref(),
        temporaries,
    };
    target.check(&config.data_dir)?;
    let folders = key_folders(&config)?;
    let crls = CrlFolder::of(&config);
    let workspace = Workspace::enter(&config.data_dir, temporaries)?;
    let mut missing = BTreeSet::new();
    for _ in 0..MAX_ATTEMPTS {
        let mut copy = Copy::take(&config, &folders, &workspace).await?;
        copy.manifest.moved.extend(crls.moved());
        match copy.pack(&config, &workspace, &crls, target, &missing)? {
            Packed::Whole { bytes } => {
                if copy.keys.is_empty() && !folders.is_empty() {
                    note(&format!(
                        "warning: this installation has no keys: is {} the right directory?",
                        config.data_dir.display()
                    ));
                }
                for key in &missing {
                    note(&format!("warning: key {} has no file", key.display()));
                }
                note(&format!("{bytes} bytes in {}", arguments.to.display()));
                return Ok(());
            }
            Packed::KeysMissing(keys) => {
                missing = keys;
                workspace.keep_keys(&folders)?;
            }
        }
    }
    bail!("keys are deleted faster than they can be copied")
}

/// Where a backup goes, and what it is encrypted under.
#[derive(Clone, Copy)]
struct Target<'a> {
    path: &'a Path,
    existing: Existing,
    passphrase: Option<&'a SecretString>,
    temporaries: &'a Temporaries,
}

/// What becomes of a file that has the target's name already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Kept,
    Replaced,
}

impl Target<'_> {
    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Refuses a name that is taken or in the data directory, before any work is done.
    fn check(&self, data_dir: &Path) -> Result<()> {
        ensure!(
            place_in(data_dir, self.folder()).is_none(),
            "{} is in the data directory: what takes the one takes the other, choose another place",
            self.path.display()
        );
        let Ok(metadata) = fs::symlink_metadata(self.path) else {
            return Ok(());
        };
        ensure!(self.existing == Existing::Replaced, self.taken());
        ensure!(
            metadata.is_file(),
            "{} is no file, --force replaces files only",
            self.path.display()
        );
        Ok(())
    }

    /// Gives a file that is whole and on disk its name.
    fn settle(&self, file: NamedTempFile) -> Result<()> {
        self.temporaries.settle(|| {
            let settled = match self.existing {
                Existing::Replaced => file.persist(self.path),
                Existing::Kept => file.persist_noclobber(self.path),
            };
            match settled {
                Ok(_) => Ok(()),
                // Somebody was faster.
                Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => {
                    bail!(self.taken())
                }
                Err(refused) => Err(refused.error)
                    .with_context(|| format!("{} cannot be written", self.path.display())),
            }
        })
    }

    fn taken(&self) -> String {
        format!(
            "{} exists already: choose another name, or replace it with --force",
            self.path.display()
        )
    }
}

/// What came of packing a copy.
enum Packed {
    /// The file is there.
    Whole {
        /// Its size.
        bytes: u64,
    },
    /// These keys are named by the copy and have no file; there is no backup.
    KeysMissing(BTreeSet<PathBuf>),
}

/// Tells the operator something that is no result.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// A folder with keys, and its place in the backup.
struct KeyFolder {
    engine: EngineId,
    path: PathBuf,
    place: String,
    location: Location,
}

/// Whether a folder comes back to its place by a restore of the data directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Location {
    InDataDir,
    Elsewhere,
}

/// The folder with CRLs, and its place in the backup.
struct CrlFolder {
    path: PathBuf,
    place: PathBuf,
    location: Location,
}

impl CrlFolder {
    fn of(config: &Config) -> Self {
        let path = config.crl_directory();
        let inside = place_in(&config.data_dir, &path);
        let location = match inside {
            Some(_) => Location::InDataDir,
            None => Location::Elsewhere,
        };
        // Each CA makes a new CRL after a restore; a file system that is not mounted should be known.
        if config.has_crl_bucket() {
            note("CRLs are in a bucket, and not in the backup");
        } else if !path.exists() {
            note(&format!("warning: there are no CRLs in {}", path.display()));
        }
        Self {
            place: inside.unwrap_or_else(|| PathBuf::from(CRLS)),
            path,
            location,
        }
    }

    /// What a restore tells to be moved.
    fn moved(&self) -> Option<(String, PathBuf)> {
        (self.location == Location::Elsewhere).then(|| (CRLS.to_owned(), self.path.clone()))
    }
}

/// The place of a folder in the data directory, if it is there.
fn place_in(data_dir: &Path, folder: &Path) -> Option<PathBuf> {
    let (folder, data_dir) = (folder.canonicalize().ok()?, data_dir.canonicalize().ok()?);
    folder.strip_prefix(data_dir).ok().map(Path::to_owned)
}

/// The folders of the engines that keep keys in files.
fn key_folders(config: &Config) -> Result<Vec<KeyFolder>> {
    let mut folders = Vec::new();
    for engine in config.engines().engines {
        let Ok(EngineKind::Filesystem) = engine.kind() else {
            note(&format!(
                "keys of engine {} are not in the backup",
                engine.id
            ));
            continue;
        };
        let path = engines::filesystem_options(&engine)?.storage_directory;
        let inside = place_in(&config.data_dir, &path);
        let location = match inside {
            Some(_) => Location::InDataDir,
            None => Location::Elsewhere,
        };
        let place = inside.unwrap_or_else(|| Path::new("engines").join(engine.id.as_str()));
        let place = place.to_str().context("a key folder's name is no text")?;
        ensure!(
            !place.is_empty() && !place.split('/').any(|part| part.is_empty() || part == ".."),
            "keys of engine {} are in a place that cannot be backed up",
            engine.id
        );
        folders.push(KeyFolder {
            engine: engine.id,
            place: place.to_owned(),
            path,
            location,
        });
    }
    Ok(folders)
}

/// A directory for the copy of the database, for one backup at a time; removed with this value.
struct Workspace {
    path: PathBuf,
    _lock: File,
}

impl Workspace {
    fn enter(data_dir: &Path, temporaries: &Temporaries) -> Result<Self> {
        temporaries.make(|| Self::locked(data_dir), |workspace| &workspace.path)
    }

    fn locked(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(WORKSPACE);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("{} cannot be made", path.display()))?;
        let lock = File::open(&path)?;
        ensure!(
            flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
            "another backup of {} is running",
            data_dir.display()
        );
        let workspace = Self { path, _lock: lock };
        // What a process left that was killed.
        match fs::remove_dir_all(workspace.path.join(KEPT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(workspace),
        }
    }

    /// Removes the copy that an earlier attempt left, also one of a process that was killed.
    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Keeps the key files that there are now: what the next copy of the database names is there,
    /// also where a key is deleted before it is packed.
    fn keep_keys(&self, folders: &[KeyFolder]) -> Result<()> {
        for folder in folders {
            let kept = self.path.join(KEPT).join(&folder.place);
            fs::create_dir_all(&kept)?;
            for entry in fs::read_dir(&folder.path)? {
                let entry = entry?;
                let place = kept.join(entry.file_name());
                if entry.file_type()?.is_file() && !place.exists() {
                    keep(&entry.path(), &place)?;
                }
            }
        }
        Ok(())
    }
}

/// Links a file to a place where nothing is, or copies it to another file system, unless it is gone.
fn keep(file: &Path, place: &Path) -> Result<()> {
    let kept = match fs::hard_link(file, place) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(file, place).map(drop)
        }
        linked => linked,
    };
    match kept {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be kept", file.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // What stays is cleared by the next backup.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// A copy of the database, and the keys that it names.
struct Copy {
    manifest: Manifest,
    /// Name of its file in the workspace and in the backup.
    database: &'static str,
    /// File and name in the backup.
    keys: Vec<(PathBuf, String)>,
}

impl Copy {
    async fn take(config: &Config, folders: &[KeyFolder], workspace: &Workspace) -> Result<Self> {
        workspace.clear()?;
        match config.storage.provider {
            Provider::Sqlite => Self::of_sqlite(config, folders, workspace).await,
            Provider::Postgres => Self::of_postgres(config, folders, workspace).await,
        }
    }

    async fn of_postgres(
        config: &Config,
        folders: &[KeyFolder],
        workspace: &Workspace,
    ) -> Result<Self> {
        let created_at = Timestamp(SystemClock.now());
        let db = storage::open_beside(config, Arc::new(SystemClock)).await?;
        let installation_id = installation_id(&db).await?.to_string();
        db.close().await;
        let file = workspace.path.join(dump::DUMP);
        dump::take(&config.storage.postgres()?, &file)?;
        let by_engine: BTreeMap<&EngineId, &KeyFolder> = folders
            .iter()
            .map(|folder| (&folder.engine, folder))
            .collect();
        let keys = dump::keys(&file)?;
        let keys = keys
            .iter()
            .filter_map(|(engine, handle)| Some(by_engine.get(engine)?.file(handle)));
        Ok(Self {
            keys: keys.collect(),
            database: dump::DUMP,
            manifest: manifest(installation_id, created_at, folders),
        })
    }

    async fn of_sqlite(
        config: &Config,
        folders: &[KeyFolder],
        workspace: &Workspace,
    ) -> Result<Self> {
        let created_at = Timestamp(SystemClock.now());
        copy_sqlite(&config.data_dir, &workspace.path).context("the database cannot be copied")?;
        let db = Db::open_sqlite_beside(&workspace.path, Arc::new(SystemClock))?;
        let copy = Self::read(&db, folders, created_at).await;
        db.close().await;
        copy
    }

    async fn read(db: &Db, folders: &[KeyFolder], created_at: Timestamp) -> Result<Self> {
        let mut keys = Vec::new();
        for folder in folders {
            let mut after = String::new();
            loop {
                let handles = handles_of_engine(db, &folder.engine, &after, PAGE).await?;
                let Some(last) = handles.last() else { break };
                after = last.as_str().to_owned();
                keys.extend(handles.iter().map(|handle| folder.file(handle)));
            }
        }
        let installation_id = installation_id(db).await?.to_string();
        Ok(Self {
            manifest: manifest(installation_id, created_at, folders),
            database: DATABASE,
            keys,
        })
    }

    /// Writes the file: under a temporary name until it is whole and on disk. Keys that were missing
    /// before the copy was taken are not missing because of its age: they are lost.
    fn pack(
        &self,
        config: &Config,
        workspace: &Workspace,
        crls: &CrlFolder,
        target: Target<'_>,
        lost: &BTreeSet<PathBuf>,
    ) -> Result<Packed> {
        let folder = target.folder();
        // Mode 0600, and removed again should anything fail.
        let file = target.temporaries.make(
            || {
                NamedTempFile::with_prefix_in(".lamassu-backup-", folder)
                    .with_context(|| format!("{} cannot be written", folder.display()))
            },
            NamedTempFile::path,
        )?;
        let sink = Sink::new(BufWriter::new(file), target)?;
        let mut archive = ArchiveWriter::new(sink, &self.manifest)?;
        let mut missing = BTreeSet::new();
        for (path, name) in &self.keys {
            let kept = workspace.path.join(KEPT).join(name);
            if add(&mut archive, path, name)? == Added::Gone
                && add(&mut archive, &kept, name)? == Added::Gone
            {
                missing.insert(path.clone());
            }
        }
        if !missing.is_subset(lost) {
            return Ok(Packed::KeysMissing(missing));
        }
        add_folder(&mut archive, &config.data_dir.join(TLS), Path::new(TLS))?;
        // Only what is ours of a folder that others may use, too.
        let (path, place) = (crls.path.join(CRL_ROOT), crls.place.join(CRL_ROOT));
        add_folder(&mut archive, &path, &place)?;
        let copy = workspace.path.join(self.database);
        let database = add(&mut archive, &copy, self.database)?;
        ensure!(database == Added::Added, "the copy of the database is gone");
        let file = archive.finish()?.finish()?;
        file.as_file().sync_all()?;
        let bytes = file.as_file().metadata()?.len();
        target.settle(file)?;
        File::open(folder)?.sync_all()?;
        Ok(Packed::Whole { bytes })
    }
}

fn manifest(installation_id: String, created_at: Timestamp, folders: &[KeyFolder]) -> Manifest {
    let moved = folders
        .iter()
        .filter(|folder| folder.location == Location::Elsewhere)
        .map(|folder| (folder.place.clone(), folder.path.clone()));
    Manifest {
        format: FORMAT,
        version: version::VERSION.to_owned(),
        installation_id,
        created_at,
        moved: moved.collect(),
    }
}

impl KeyFolder {
    fn file(&self, handle: &KeyHandle) -> (PathBuf, String) {
        let name = handle.as_str();
        (self.path.join(name), format!("{}/{name}", self.place))
    }
}

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Added {
    Added,
    Gone,
}

/// Adds a file, unless it is gone.
fn add(archive: &mut ArchiveWriter<Sink>, path: &Path, name: &str) -> Result<Added> {
    match File::open(path) {
        Ok(file) => archive.file(name, &file).map(|()| Added::Added),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Added::Gone),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Adds the files below a folder at a place; those being written have names of their own.
fn add_folder(archive: &mut ArchiveWriter<Sink>, folder: &Path, place: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", folder.display()));
        }
    };
    // By name, and each once: a file that is replaced meanwhile may be listed a second time.
    let mut names = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        names.insert(entry.file_name(), entry.file_type()?.is_dir());
    }
    for (name, is_dir) in names {
        let (path, place) = (folder.join(&name), place.join(&name));
        if is_dir {
            add_folder(archive, &path, &place)?;
        } else if is_whole(&place)
            && let Some(name) = place.to_str()
        {
            // What is gone was superseded meanwhile.
            let _added = add(archive, &path, name)?;
        }
    }
    Ok(())
}

/// Whether a file has its final name: `name.new` and `name.crl#1` are being written.
fn is_whole(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| extension != "new" && !extension.contains('#'))
}

/// Where a backup goes, until it is interrupted.
struct Sink {
    form: SinkForm,
    temporaries: Temporaries,
}

/// Encrypted or not.
enum SinkForm {
    Clear(BufWriter<NamedTempFile>),
    Encrypted(Box<Encryptor<BufWriter<NamedTempFile>>>),
}

impl Sink {
    fn new(file: BufWriter<NamedTempFile>, target: Target<'_>) -> Result<Self> {
        Ok(Self {
            form: match target.passphrase {
                Some(passphrase) => {
                    SinkForm::Encrypted(Box::new(Encryptor::new(file, passphrase)?))
                }
                None => SinkForm::Clear(file),
            },
            temporaries: target.temporaries.clone(),
        })
    }

    fn finish(self) -> Result<NamedTempFile> {
        let file = match self.form {
            SinkForm::Clear(file) => file,
            SinkForm::Encrypted(encryptor) => encryptor.finish()?,
        };
        Ok(file.into_inner()?)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporaries.check()?;
        match &mut self.form {
            SinkForm::Clear(file) => file.write(bytes),
            SinkForm::Encrypted(encryptor) => encryptor.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.form {
            SinkForm::Clear(file) => file.flush(),
            SinkForm::Encrypted(encryptor) => encryptor.flush(),
        }
    }
}
