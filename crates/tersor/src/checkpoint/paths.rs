//! Paths inside a checkpoint: plain, relative, inside.

use super::CheckpointError;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// Why a path is not a plain relative one, if it is not. Paths come from hostile files, and files are written on other
/// systems than they came from, so what is special on any of them is refused.
pub(super) fn flaw(path: &str) -> Option<&'static str> {
    let is_drive = |part: &str| matches!(part.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if path.is_empty() {
        Some("it is empty")
    } else if path.contains('\0') {
        Some("it contains a NUL character")
    } else if path.contains('\\') {
        Some("it contains a backslash; parts are separated by '/'")
    } else if path.starts_with('/') {
        Some("it is absolute; only paths relative to the checkpoint's folder are allowed")
    } else if path.split('/').any(|part| part == "..") {
        Some("it contains '..', which could lead outside the checkpoint's folder")
    } else if path.split('/').any(|part| part.is_empty() || part == ".") {
        Some("it has an empty part or '.'")
    } else if path.split('/').any(is_drive) {
        Some("it contains a drive letter")
    } else {
        None
    }
}

/// Checks that every path is plain and relative and that no two are equal or one the folder of another.
pub(super) fn check_all<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> Result<(), CheckpointError> {
    let bad = |path: &str, why: &str| CheckpointError::BadPath {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let mut seen = HashSet::new();
    for path in paths.clone() {
        if let Some(why) = flaw(path) {
            return Err(bad(path, why));
        }
        if !seen.insert(path) {
            return Err(bad(path, "another file has the same path"));
        }
    }
    for path in paths {
        let mut folders = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        if let Some(folder) = folders.find(|folder| seen.contains(folder)) {
            return Err(bad(path, &format!("{folder:?} is a file, not a folder")));
        }
    }
    Ok(())
}

/// `root` and a checked path, with the system's separators.
pub(super) fn join(root: &Path, path: &str) -> PathBuf {
    path.split('/')
        .fold(root.to_path_buf(), |joined, part| joined.join(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_pass() {
        for good in ["a", "a/b.json", "a b", "..a", "a..", "é/\u{1}"] {
            assert_eq!(flaw(good), None, "{good:?}");
        }
        for bad in [
            "", "/a", "a/", "a//b", ".", "a/./b", "..", "../a", "a/../b", "a\\b", "C:/a", "c:", "a\0",
        ] {
            assert!(flaw(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn paths_that_collide_are_refused() {
        assert!(check_all(["a/b", "a/c"].into_iter()).is_ok());
        assert!(check_all(["a", "a"].into_iter()).is_err());
        assert!(check_all(["a/b", "a"].into_iter()).is_err());
        assert!(check_all(["a/b/c", "a"].into_iter()).is_err());
    }
}
