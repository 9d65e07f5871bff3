//! Backups: as the file is, and as the tar inside of it, past the checksum of the compression. What
//! is unpacked stays in its directory, and is complete.
#![no_main]

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;

// The reader belongs to the program, which is no library.
#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/lamassu/src/archive.rs"]
mod archive;

fuzz_target!(|bytes: &[u8]| {
    unpack(bytes);
    let mut tar = GzEncoder::new(Vec::new(), Compression::none());
    tar.write_all(bytes).expect("memory takes everything");
    unpack(&tar.finish().expect("memory takes everything"));
});

fn unpack(file: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let into = directory.path().join("into");
    fs::create_dir(&into).expect("a directory");
    let unpacked = archive::unpack(file, &into);
    let outside = fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(outside, 1, "something was written outside");
    if let Ok(manifest) = unpacked {
        assert_eq!(manifest.format, archive::FORMAT);
    }
}
