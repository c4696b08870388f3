//! What killed processes left behind: temporary files and folders of the same destination that nobody holds a lock on.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::Path;

/// Random characters at the end of a temporary name.
pub(super) const RANDOM_CHARACTERS: usize = 6;

/// Says that a temporary file is in use, until it is closed.
pub(super) fn lock(file: &File) -> io::Result<()> {
    file.lock()
}

/// Removes leftovers whose names begin with `prefix`. What cannot be removed, or whose use cannot be told, stays.
pub(super) fn remove(folder: &Path, prefix: &OsStr) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_ours(&entry.file_name(), prefix) {
            let _ = remove_unused(&entry);
        }
    }
}

/// Whether a name is the prefix and random characters, and not that of a destination with a longer name.
fn is_ours(name: &OsStr, prefix: &OsStr) -> bool {
    let rest = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
    rest.is_some_and(|rest| rest.len() == RANDOM_CHARACTERS && rest.iter().all(u8::is_ascii_alphanumeric))
}

fn remove_unused(entry: &DirEntry) -> io::Result<()> {
    let kind = entry.file_type()?;
    // The lock is held until it is removed: who has just made it waits, and then sees that it is gone.
    let file = File::open(entry.path())?;
    file.try_lock().map_err(io::Error::other)?;
    if kind.is_dir() {
        fs::remove_dir_all(entry.path())
    } else {
        fs::remove_file(entry.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leftovers_of_the_same_destination_that_nobody_uses_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in [
            ".tersor-a-Ab12Cd",
            ".tersor-a-used00",
            ".tersor-a-b-Ab12Cd",
            ".tersor-a-Ab",
            "a",
        ] {
            fs::write(path(name), "x").unwrap();
        }
        fs::create_dir_all(path(".tersor-a-folder/deep")).unwrap();
        let in_use = File::open(path(".tersor-a-used00")).unwrap();
        lock(&in_use).unwrap();
        remove(folder.path(), OsStr::new(".tersor-a-"));
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        // A folder cannot be locked on every system; it stays there.
        left.retain(|name| cfg!(unix) || name != ".tersor-a-folder");
        assert_eq!(
            left,
            [".tersor-a-Ab", ".tersor-a-b-Ab12Cd", ".tersor-a-used00", "a"]
        );
    }
}
