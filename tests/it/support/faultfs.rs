//! The layer below the program that records what it does to its files and runs out of space on
//! demand (`tests/faultfs/faultfs.c`), and what a power cut leaves of such a recording.
//!
//! The model of a disk is the pessimist's, which POSIX allows: content that was not synced since it
//! was written may be there, not be there, or be there by some of its sectors; a name exists for sure
//! only after its directory was synced.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use lamassu_db::PostgresOptions;
use tempfile::TempDir;

use crate::support::command;
use crate::support::load::Dice;
use crate::support::program::{Options, Program};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The layer as a library, built once.
fn library() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faultfs/faultfs.c");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = directory.join("faultfs.so");
        // Another run of the tests may be building it, too.
        let unfinished = directory.join(format!("faultfs-{}.so", std::process::id()));
        let arguments = [
            "-shared",
            "-fPIC",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            &unfinished.to_string_lossy(),
            &source.to_string_lossy(),
            "-ldl",
            "-lpthread",
        ];
        command::run(directory, "cc", &arguments).expect("the layer builds");
        std::fs::rename(unfinished, &library).expect("the layer is put in place");
        library
    })
}

/// Starts the program above the layer, recording, with all space that there is.
///
/// # Errors
/// It does not get ready.
pub(crate) fn start() -> Result<Program> {
    let (directory, options) = prepare()?;
    Program::start_in(directory, options)
}

/// The same with rows in a PostgreSQL schema; the layer sees what the program keeps beside them.
///
/// # Errors
/// As [`start`].
pub(crate) fn start_on(storage: PostgresOptions) -> Result<Program> {
    let (directory, options) = prepare()?;
    Program::start_at(directory, options, Some(Box::new(storage)))
}

fn prepare() -> Result<(TempDir, Options)> {
    let directory = TempDir::new()?;
    let path = |name: &str| directory.path().join(name).into_os_string();
    std::fs::write(path("budget"), (-1_i64).to_ne_bytes())?;
    let environment: [(&str, OsString); 4] = [
        ("LD_PRELOAD", library().as_os_str().to_owned()),
        ("FAULTFS_ROOT", directory.path().as_os_str().to_owned()),
        ("FAULTFS_LOG", path("recording")),
        ("FAULTFS_BUDGET", path("budget")),
    ];
    let options = Options {
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        ..Options::default()
    };
    Ok((directory, options))
}

/// Lets this many more writes succeed; all of them for `None`.
///
/// # Errors
/// The layer's file cannot be written.
pub(crate) fn set_budget(program: &Program, writes: Option<i64>) -> Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(program.scratch().join("budget"))?;
    let value = writes.unwrap_or(-1).to_ne_bytes();
    Ok(std::os::unix::fs::FileExt::write_all_at(&file, &value, 0)?)
}

/// How long the recording is now: what is answered by now is in it.
///
/// # Errors
/// There is none.
pub(crate) fn recorded(program: &Program) -> Result<usize> {
    let length = std::fs::metadata(program.scratch().join("recording"))?.len();
    Ok(usize::try_from(length)?)
}

/// Begins the recording anew.
///
/// # Errors
/// There is none.
pub(crate) fn forget(program: &Program) -> Result<()> {
    Ok(std::fs::write(program.scratch().join("recording"), "")?)
}

/// One thing that happened to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Bytes were written.
    Write {
        inode: u64,
        offset: usize,
        data: Vec<u8>,
    },
    /// The length was set.
    Truncate { inode: u64, length: usize },
    /// A file's content, or a directory's names, were synced.
    Sync { inode: u64, path: String },
    /// A new file.
    Create { inode: u64, path: String },
    /// Another name.
    Link { inode: u64, path: String },
    /// A name became another.
    Rename {
        inode: u64,
        from: String,
        to: String,
    },
    /// A name is gone.
    Unlink { path: String },
    /// A new directory.
    Mkdir { path: String },
}

/// What happened, each with the length of the recording after it.
///
/// # Errors
/// The recording cannot be read.
pub(crate) fn recording(program: &Program) -> Result<Vec<(usize, Change)>> {
    let bytes = std::fs::read(program.scratch().join("recording"))?;
    let mut changes = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .context("half a line")?;
        let line = std::str::from_utf8(&rest[..end])?;
        at += end + 1;
        let (change, n_data) = parse(line, &rest[end + 1..]).with_context(|| line.to_owned())?;
        at += n_data;
        changes.push((at, change));
    }
    Ok(changes)
}

fn parse(line: &str, rest: &[u8]) -> Result<(Change, usize)> {
    let (kind, arguments) = line.split_once(' ').context("no kind")?;
    if kind == "W" {
        let mut numbers = arguments.split(' ');
        let mut next = || numbers.next().context("a number is missing");
        let (inode, offset) = (next()?.parse()?, next()?.parse()?);
        let length: usize = next()?.parse()?;
        let data = rest.get(..length).context("half a write")?.to_vec();
        let change = Change::Write {
            inode,
            offset,
            data,
        };
        return Ok((change, length));
    }
    if let "U" | "M" = kind {
        let path = arguments.to_owned();
        let change = if kind == "U" {
            Change::Unlink { path }
        } else {
            Change::Mkdir { path }
        };
        return Ok((change, 0));
    }
    let (inode, rest) = arguments.split_once(' ').context("no inode")?;
    let (inode, path) = (inode.parse()?, rest.to_owned());
    let change = match kind {
        "T" => Change::Truncate {
            inode,
            length: rest.parse()?,
        },
        "S" => Change::Sync { inode, path },
        "C" => Change::Create { inode, path },
        "L" => Change::Link { inode, path },
        "R" => {
            let (from, to) = rest.split_once('\t').context("one name")?;
            Change::Rename {
                inode,
                from: from.to_owned(),
                to: to.to_owned(),
            }
        }
        kind => anyhow::bail!("unknown kind {kind}"),
    };
    Ok((change, 0))
}

/// What a power cut takes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it.
    Everything,
    /// Any part of it, down to sectors.
    Anything,
    /// Nothing: a process was killed.
    Nothing,
}

/// A disk on which a recording is played.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// The file that has this inode now; numbers are used again.
    by_inode: BTreeMap<u64, usize>,
    names: BTreeMap<String, Name>,
    /// Changes of names since their directory was synced, in order.
    unsynced_names: Vec<NameChange>,
}

#[derive(Clone, Debug, Default)]
struct File {
    synced: Vec<u8>,
    unsynced: Vec<Content>,
}

#[derive(Clone, Debug)]
enum Content {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone, Copy, Debug)]
enum Name {
    File(usize),
    Directory,
}

/// A name that is set or removed.
type NameChange = (String, Option<Name>);

impl Disk {
    /// A disk that holds what is in a directory, all of it durable.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn holding(directory: &Path) -> Result<Self> {
        let mut disk = Self::default();
        disk.take_in(directory)?;
        Ok(disk)
    }

    fn take_in(&mut self, directory: &Path) -> Result<()> {
        let name = |path: &Path| path.to_string_lossy().into_owned();
        self.names.insert(name(directory), Name::Directory);
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                self.take_in(&path)?;
                continue;
            }
            let inode = std::os::unix::fs::MetadataExt::ino(&path.metadata()?);
            self.files.push(File {
                synced: std::fs::read(&path)?,
                unsynced: Vec::new(),
            });
            self.by_inode.insert(inode, self.files.len() - 1);
            self.names
                .insert(name(&path), Name::File(self.files.len() - 1));
        }
        Ok(())
    }

    /// Plays one change.
    ///
    /// # Errors
    /// It is about a file that was never created.
    pub(crate) fn play(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Write {
                inode,
                offset,
                data,
            } => self.change(*inode, Content::Write(*offset, data.clone()))?,
            Change::Truncate { inode, length } => self.change(*inode, Content::Length(*length))?,
            Change::Sync { path, .. } if self.is_directory(path) => self.sync_names(path),
            Change::Sync { inode, .. } => {
                let file = self.file(*inode)?;
                for content in std::mem::take(&mut file.unsynced) {
                    content.apply(&mut file.synced);
                }
            }
            Change::Create { inode, path } => {
                self.files.push(File::default());
                self.by_inode.insert(*inode, self.files.len() - 1);
                self.name(path, Some(Name::File(self.files.len() - 1)));
            }
            Change::Link { inode, path } => {
                let file = *self.by_inode.get(inode).context("unknown inode")?;
                self.name(path, Some(Name::File(file)));
            }
            Change::Rename { inode, from, to } => {
                let file = *self.by_inode.get(inode).context("unknown inode")?;
                self.name(to, Some(Name::File(file)));
                self.name(from, None);
            }
            Change::Unlink { path } => self.name(path, None),
            Change::Mkdir { path } => self.name(path, Some(Name::Directory)),
        }
        Ok(())
    }

    /// Writes what is left after a power cut below `into`, for names below `root`.
    ///
    /// # Errors
    /// `into` cannot be written.
    pub(crate) fn cut(&self, loss: Loss, dice: &mut Dice, root: &Path, into: &Path) -> Result<()> {
        let mut names = self.names.clone();
        // Names of one directory become durable in their order.
        let mut lost = BTreeSet::new();
        for (path, name) in &self.unsynced_names {
            let is_lost = match loss {
                Loss::Everything => true,
                Loss::Nothing => false,
                Loss::Anything => lost.contains(parent(path)) || dice.below(2) == 0,
            };
            if is_lost {
                lost.insert(parent(path).to_owned());
            } else {
                set(&mut names, path, *name);
            }
        }
        let mut directories = BTreeSet::from([root.to_path_buf()]);
        for (path, name) in &names {
            let path = Path::new(path);
            // What is in a directory that is lost is lost; the root comes first, children later.
            let is_reached = path
                .parent()
                .is_some_and(|parent| directories.contains(parent));
            if !is_reached {
                continue;
            }
            let place = into.join(path.strip_prefix(root)?);
            match name {
                Name::Directory => {
                    directories.insert(path.to_path_buf());
                    std::fs::create_dir(place)?;
                }
                // Shared memory is no file: it starts anew.
                Name::File(_) if path.to_string_lossy().ends_with("-shm") => {}
                Name::File(file) => std::fs::write(place, self.files[*file].cut(loss, dice))?,
            }
        }
        Ok(())
    }

    fn change(&mut self, inode: u64, content: Content) -> Result<()> {
        self.file(inode)?.unsynced.push(content);
        Ok(())
    }

    fn file(&mut self, inode: u64) -> Result<&mut File> {
        let file = *self.by_inode.get(&inode).context("unknown inode")?;
        Ok(&mut self.files[file])
    }

    fn name(&mut self, path: &str, name: Option<Name>) {
        self.unsynced_names.push((path.to_owned(), name));
    }

    fn is_directory(&self, path: &str) -> bool {
        let is_one = |name: Option<&Name>| matches!(name, Some(Name::Directory));
        let mut unsynced = self.unsynced_names.iter().rev();
        match unsynced.find(|(changed, _)| changed == path) {
            Some((_, name)) => is_one(name.as_ref()),
            // Above the recording there are only directories.
            None => is_one(self.names.get(path)) || !self.names.contains_key(path),
        }
    }

    fn sync_names(&mut self, directory: &str) {
        let (synced, unsynced) = std::mem::take(&mut self.unsynced_names)
            .into_iter()
            .partition(|(path, _)| parent(path) == directory);
        self.unsynced_names = unsynced;
        let synced: Vec<NameChange> = synced;
        for (path, name) in synced {
            set(&mut self.names, &path, name);
        }
    }
}

impl File {
    fn cut(&self, loss: Loss, dice: &mut Dice) -> Vec<u8> {
        let mut content = self.synced.clone();
        for change in &self.unsynced {
            match (loss, change) {
                (Loss::Everything, _) => {}
                (Loss::Nothing, change) => change.apply(&mut content),
                (Loss::Anything, Content::Length(_)) => {
                    if dice.below(2) == 0 {
                        change.apply(&mut content);
                    }
                }
                (Loss::Anything, Content::Write(offset, data)) => match dice.below(3) {
                    0 => {}
                    1 => change.apply(&mut content),
                    _ => tear(*offset, data, dice, &mut content),
                },
            }
        }
        content
    }
}

/// Writes some sectors of a write.
fn tear(offset: usize, data: &[u8], dice: &mut Dice, content: &mut Vec<u8>) {
    let mut at = 0;
    while at < data.len() {
        let next = (at + SECTOR - (offset + at) % SECTOR).min(data.len());
        if dice.below(2) == 0 {
            Content::Write(offset + at, data[at..next].to_vec()).apply(content);
        }
        at = next;
    }
}

impl Content {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(*length, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(data);
            }
        }
    }
}

fn set(names: &mut BTreeMap<String, Name>, path: &str, name: Option<Name>) {
    match name {
        Some(name) => {
            names.insert(path.to_owned(), name);
        }
        None => {
            names.remove(path);
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether the sync of `path` comes after the last write to it, in a stretch of a recording that
/// has both.
///
/// # Errors
/// It is never written, or not synced after that.
pub(crate) fn ensure_synced(changes: &[(usize, Change)], path: &str) -> Result<()> {
    let synced = changes.iter().rposition(
        |(_, change)| matches!(change, Change::Sync { path: synced, .. } if synced.ends_with(path)),
    );
    let synced = synced.with_context(|| format!("{path} is not synced"))?;
    let (_, Change::Sync { inode, .. }) = &changes[synced] else {
        anyhow::bail!("no sync");
    };
    let before = &changes[..synced];
    let written = before
        .iter()
        .any(|(_, change)| matches!(change, Change::Write { inode: to, .. } if to == inode));
    ensure!(written, "{path} is not written before it is synced");
    Ok(())
}
