//! Compiled components on disk, one file per upload and engine.
//!
//! Wasmtime trusts what it maps, so a file is only mapped when its seal fits: an HMAC
//! under the platform's key over the upload's digest and the code, kept beside it.
//! What is mapped is the very file that was looked at, whatever its name has come to
//! mean since. Both are written under temporary names and renamed, the seal last.
//!
//! The folder has a bound: what was not loaded for longest goes, and is compiled
//! again from its upload should anybody want it.

use super::spool::{self, Draft};
use crate::{
    error::Result,
    seal::{Key, Tag},
};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use std::{
    collections::hash_map::DefaultHasher,
    fs::{self, DirBuilder, File, Permissions},
    hash::{Hash, Hasher},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::SystemTime,
};
use wasmtime::{Engine, component::Component};

/// Artifacts kept unless said otherwise: two hundred of Python's.
pub const ARTIFACTS: u64 = 8 << 30;

const ENDING: &str = "cwasm";

/// For what the platform's key seals them.
const PURPOSE: &str = "artifact";

pub(super) struct Artifacts {
    folder: PathBuf,
    key: Key,
    most: u64,
}

impl Artifacts {
    /// Opens the folder and puts away what a dead process left half done.
    pub(super) fn open(folder: PathBuf, key: Key, most: u64) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        spool::sweep(&folder)?;
        Ok(Self { folder, key, most })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives a draft its seal and its name.
    pub(super) fn keep(&self, engine: &Engine, sha256: &str, draft: &Draft) -> Result<()> {
        let path = self.path(engine, sha256);
        let tag = self.tag(sha256, &mut File::open(draft.path())?)?;
        // Nobody has a reason to write to it again.
        fs::set_permissions(draft.path(), Permissions::from_mode(0o400))?;
        fs::rename(draft.path(), &path)?;
        self.seal(&path, tag)?;
        self.make_room(&path)?;
        Ok(())
    }

    fn seal(&self, path: &Path, tag: Tag) -> io::Result<()> {
        let seal = Draft::new(&self.folder);
        fs::write(seal.path(), tag)?;
        fs::rename(seal.path(), seal_of(path))
    }

    /// The component, if it was kept and nobody touched it since.
    pub(super) fn load(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let path = self.path(engine, sha256);
        let (mut code, seal) = (File::open(&path).ok()?, fs::read(seal_of(&path)).ok()?);
        let place = path.display();
        match self.key.made_file(&seal, PURPOSE, sha256.as_bytes(), &mut code) {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!(
                    path = %place,
                    "a compiled component was changed on disk, or its key is gone; compiling it anew"
                );
                return None;
            }
            Err(error) => {
                tracing::error!(%error, path = %place, "a compiled component cannot be read; compiling it anew");
                return None;
            }
        }
        if let Err(error) = self.renew(sha256, &path, &seal, &mut code) {
            tracing::warn!(%error, path = %place, "the seal of a key before stays");
        }
        touch(&code);
        match map(engine, &code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%error, path = %place, "a compiled component does not load; compiling it anew");
                None
            }
        }
    }

    /// Seals it with the current key, when a key before did.
    fn renew(&self, sha256: &str, path: &Path, seal: &[u8], code: &mut File) -> io::Result<()> {
        if !self.key.has_previous() {
            return Ok(());
        }
        let tag = self.tag(sha256, code)?;
        if tag == *seal { Ok(()) } else { self.seal(path, tag) }
    }

    /// Removes the artifact of an upload that was refused after all.
    pub(super) fn forget(&self, engine: &Engine, sha256: &str) {
        let path = self.path(engine, sha256);
        // Somebody else's same upload may have been quicker.
        let _ = fs::remove_file(seal_of(&path));
        let _ = fs::remove_file(path);
    }

    fn path(&self, engine: &Engine, sha256: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{sha256}-{:016x}.{ENDING}", hasher.finish()))
    }

    fn tag(&self, sha256: &str, code: &mut File) -> io::Result<Tag> {
        self.key.tag_file(PURPOSE, sha256.as_bytes(), code)
    }

    /// Removes what was not loaded for longest until the rest is within the bound.
    fn make_room(&self, kept: &Path) -> io::Result<()> {
        let mut found: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == ENDING) && path != kept {
                let about = entry.metadata()?;
                found.push((about.modified()?, about.len(), path));
            }
        }
        let all: u64 = found.iter().map(|(_, size, _)| size).sum();
        let mut over = (all + fs::metadata(kept)?.len()).saturating_sub(self.most);
        found.sort();
        for (_, size, path) in found {
            if over == 0 {
                break;
            }
            // Whoever runs it goes on: the file lives for as long as it is mapped.
            let _ = fs::remove_file(seal_of(&path));
            fs::remove_file(path)?;
            over = over.saturating_sub(size);
        }
        Ok(())
    }
}

/// Maps what is in this very file; engines that map the same one share its pages.
#[expect(unsafe_code, reason = "Wasmtime maps machine code; the seal says it is ours")]
fn map(engine: &Engine, code: &File) -> wasmtime::Result<Component> {
    // Wasmtime takes a name; this one means the open file.
    let name = format!("/proc/self/fd/{}", code.as_raw_fd());
    // SAFETY: `deserialize_file` must be given what Wasmtime's own compiler wrote. The
    // seal of this file was made right after our compile worker wrote it and cannot be
    // made without the platform's key; nothing of ours ever writes to it again, and
    // Wasmtime checks that it was made for this engine.
    unsafe { Component::deserialize_file(engine, name) }
}

/// Notes that it was used now.
fn touch(code: &File) {
    let at = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: at(UTIME_OMIT), last_modification: at(UTIME_NOW) };
    if let Err(error) = rustix::fs::futimens(code, &times) {
        tracing::warn!(%error, "cannot note that a compiled component is in use");
    }
}

fn seal_of(path: &Path) -> PathBuf {
    path.with_extension("seal")
}
