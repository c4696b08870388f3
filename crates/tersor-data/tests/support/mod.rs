//! What the tests share.
#![allow(dead_code, reason = "each test file uses its part")]

use flate2::Compression;
use flate2::write::GzEncoder;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes a file, with folders above it.
pub(crate) fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// As `gzip` would.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An error and its causes as one line.
pub(crate) fn message(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

/// A data set among the real ones, or `None` with one line that says so.
#[expect(clippy::print_stdout, reason = "who runs the tests is told what was skipped")]
pub(crate) fn real_data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TERSOR_DATA").map(|folder| Path::new(&folder).join(name));
    if folder.is_none() {
        println!("skipped: TERSOR_DATA does not name a folder of real data");
    }
    folder
}
