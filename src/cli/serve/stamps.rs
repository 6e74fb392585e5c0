//! [`Stamps`]: metadata of files, so that a change is seen without reading them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The metadata of some files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// The metadata of one file. Links are followed: to change a `ConfigMap`, the kubelet writes a new directory and points
/// the link `..data` to it, so the old path leads to a different file.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// The time of the last change of its content, in seconds and nanoseconds.
    modified: (i64, i64),
    /// The time of the last change of anything about it, such as its permissions.
    changed: (i64, i64),
}

impl Stamps {
    /// The present stamps of these files; a file that cannot be seen has none.
    pub(super) fn of(files: &[PathBuf]) -> Self {
        Self(files.iter().map(|file| (file.clone(), Stamp::of(file))).collect())
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.iter().map(|(file, _)| file)
    }

    /// `true` if both are of the same files, even with different metadata.
    pub(super) fn are_of_the_same_files_as(&self, other: &Self) -> bool {
        self.files().eq(other.files())
    }
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let seen = fs::metadata(file).ok()?;
        Some(Self {
            device: seen.dev(),
            inode: seen.ino(),
            size: seen.len(),
            modified: (seen.mtime(), seen.mtime_nsec()),
            changed: (seen.ctime(), seen.ctime_nsec()),
        })
    }
}
