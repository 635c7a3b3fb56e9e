//! An object in a folder of this machine, while it grows: a file under its last name.
//! Nobody reads it before something names it.

use crate::error::{Error, Kind, Result};
use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Written to the disk at once. Few enough to wait for, enough to be quick.
const WRITE_BYTES: usize = 1 << 20;

pub(super) struct Growing {
    path: PathBuf,
    /// How many bytes it had before this go; what comes after them is torn.
    from: u64,
    /// None until something is written.
    file: Option<File>,
    buffer: Vec<u8>,
    kept: bool,
}

impl Growing {
    pub(super) fn new(path: PathBuf, from: u64, kept: bool) -> Self {
        Self { path, from, file: None, buffer: Vec::new(), kept }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.flush(false).await } else { Ok(()) }
    }

    /// All of it is durable, with its name.
    pub(super) async fn save(&mut self) -> Result<()> {
        self.flush(true).await
    }

    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    async fn flush(&mut self, durable: bool) -> Result<()> {
        let (bytes, file) = (std::mem::take(&mut self.buffer), self.file.take());
        let (path, from) = (self.path.clone(), self.from);
        let written = tokio::task::spawn_blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => open(&path, from)?,
            };
            file.write_all(&bytes)?;
            if durable {
                file.sync_all()?;
                sync_names(&path)?;
            }
            Ok(file)
        });
        let written: Result<File> = written.await.map_err(Error::internal)?;
        self.file = Some(written?);
        Ok(())
    }
}

/// A new one, or one that is there, without what is torn of it. Only one process has it
/// at a time.
fn open(path: &Path, from: u64) -> Result<File> {
    let new = from == 0;
    if let Some(folder) = path.parent().filter(|_| new) {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create(new).truncate(false).open(path)?;
    file.try_lock().map_err(|_| {
        Error::new(Kind::Locked, "being_written", "somebody else is writing this file")
    })?;
    if file.metadata()?.len() < from {
        let lost = format!("{}: the first {from} bytes are not there", path.display());
        return Err(Error::internal(anyhow::anyhow!(lost)));
    }
    file.set_len(from)?;
    file.seek(SeekFrom::Start(from))?;
    Ok(file)
}

/// The file's name in its folder, and the folder's in the one above.
fn sync_names(path: &Path) -> io::Result<()> {
    for folder in path.ancestors().skip(1).take(2) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

impl Drop for Growing {
    fn drop(&mut self) {
        if self.kept || self.file.is_none() {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "an abandoned file stays");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
