//! Temporary files and folders of this process, so that they can be removed when a signal ends it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static IN_USE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn in_use() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a temporary file or folder in mind until it is dropped. Who made it also removes it: this only stands in if a signal
/// leaves no time for that.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// Keeps a path in mind.
    pub fn new(path: &Path) -> Self {
        in_use().insert(path.to_path_buf());
        Self(path.to_path_buf())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        in_use().remove(&self.0);
    }
}

/// Removes every temporary file and folder of this process: for a handler of signals that ends the program.
pub fn remove_temporaries() {
    in_use().iter().for_each(|path| remove(path));
}

/// Removes a file or a folder. Nothing can be done about what cannot be removed: the program is about to end.
fn remove(path: &Path) {
    let _ = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_kept_in_mind_until_dropped_and_removed_with_all_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let (file, deep) = (folder.path().join("file"), folder.path().join("deep"));
        fs::write(&file, "x").unwrap();
        fs::create_dir_all(deep.join("deeper")).unwrap();
        let temporary = Temporary::new(&file);
        assert!(in_use().contains(&file));
        drop(temporary);
        assert!(!in_use().contains(&file));
        // One by one: other tests of this process have temporary files too.
        remove(&file);
        remove(&deep);
        assert!(!file.exists() && !deep.exists());
    }
}
