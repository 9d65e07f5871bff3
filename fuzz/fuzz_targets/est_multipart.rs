//! The parts of an EST answer with a key: the media type up to the first line end, then the body.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The reader is the client's own.
#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/client/src/est/multipart.rs"]
mod multipart;

fuzz_target!(|bytes: &[u8]| {
    let split = bytes.iter().position(|octet| *octet == b'\n');
    let (media_type, body) = bytes.split_at(split.unwrap_or(bytes.len()));
    let Ok(media_type) = std::str::from_utf8(media_type) else {
        return;
    };
    if let Some(parts) = multipart::parts(media_type, body) {
        for part in parts {
            assert!(part.body.len() <= body.len() + 1 && part.media_type.len() <= body.len());
        }
    }
});
