//! Compiled components on disk, one file per upload and engine.
//!
//! Wasmtime trusts what it maps, so a file is only mapped when its seal — an HMAC
//! under the platform's key, kept beside it — fits. Both are written to temporary
//! names and renamed, the seal last.

use crate::{
    error::Result,
    seal::{Key, Tag},
};
use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};
use wasmtime::{Engine, component::Component};

const PURPOSE: &str = "artifact";

pub(super) struct Artifacts {
    folder: PathBuf,
    key: Key,
}

impl Artifacts {
    pub(super) fn open(folder: PathBuf, key: Key) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, key })
    }

    /// Where the compiler writes to; unique to this call.
    pub(super) fn draft(&self) -> PathBuf {
        self.folder.join(format!("{}.draft", uuid::Uuid::new_v4()))
    }

    /// Gives a draft its seal and its name.
    pub(super) fn keep(&self, engine: &Engine, sha256: &str, draft: &Path) -> Result<()> {
        let path = self.path(engine, sha256);
        let tag = self.tag(sha256, &fs::read(draft)?);
        fs::rename(draft, &path)?;
        self.seal(&path, tag)
    }

    fn seal(&self, path: &Path, tag: Tag) -> Result<()> {
        let unnamed = self.draft();
        fs::write(&unnamed, tag)?;
        fs::rename(unnamed, seal_of(path))?;
        Ok(())
    }

    /// The component, if it was kept and nobody touched it since.
    #[expect(unsafe_code, reason = "Wasmtime maps machine code; the seal says it is ours")]
    pub(super) fn load(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let path = self.path(engine, sha256);
        let (code, seal) = (fs::read(&path).ok()?, fs::read(seal_of(&path)).ok()?);
        if !self.key.made(&seal, PURPOSE, &[sha256.as_bytes(), &code]) {
            tracing::error!(
                path = %path.display(),
                "a compiled component was changed on disk, or sealed with a key that is gone; compiling it anew"
            );
            return None;
        }
        let tag = self.tag(sha256, &code);
        if tag != *seal
            && let Err(error) = self.seal(&path, tag)
        {
            tracing::warn!(%error, path = %path.display(), "the seal of a key before stays");
        }
        // SAFETY: `deserialize_file` must be given what Wasmtime's own compiler
        // wrote. The seal is made right after our compile worker wrote the file and
        // cannot be made without the platform's key; the name holds the engine's
        // compatibility hash, and Wasmtime checks that once more.
        match unsafe { Component::deserialize_file(engine, &path) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a compiled component does not load; compiling it anew");
                None
            }
        }
    }

    fn path(&self, engine: &Engine, sha256: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{sha256}-{:016x}.cwasm", hasher.finish()))
    }

    fn tag(&self, sha256: &str, code: &[u8]) -> Tag {
        self.key.tag(PURPOSE, &[sha256.as_bytes(), code])
    }
}

fn seal_of(path: &Path) -> PathBuf {
    path.with_extension("seal")
}
