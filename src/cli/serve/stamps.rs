//! [`Stamps`]: what files look like from outside, so that a change of one is seen without reading it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What some files look like from outside.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// What one file looks like from outside. Links are followed: when the kubelet changes a `ConfigMap` it writes a directory
/// anew and lets a link, `..data`, lead there, and the file at the old path is then another one.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// When its content changed, in seconds and nanoseconds.
    modified: (i64, i64),
    /// When anything about it changed, who may read it included.
    changed: (i64, i64),
}

impl Stamps {
    /// What these files look like now; one that cannot be seen looks like nothing.
    pub(super) fn of(files: &[PathBuf]) -> Self {
        Self(files.iter().map(|file| (file.clone(), Stamp::of(file))).collect())
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.iter().map(|(file, _)| file)
    }

    /// Whether both are of the same files, whatever these look like.
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
