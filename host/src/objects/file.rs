//! Objects in a folder of this machine. One that grows is a file under its last name
//! already: nobody reads it before something names it.

use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use futures::Stream;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};
use tokio::task::JoinHandle;

/// Written to the disk at once. Few enough to wait for, enough to be quick.
const WRITE_BYTES: usize = 1 << 20;

/// Read from it at once, and kept for a client who takes them slowly.
const READ_BYTES: u64 = 256 << 10;

pub(super) struct Growing {
    path: PathBuf,
    /// How many bytes it had before this go; what comes after them is torn.
    from: u64,
    at: At,
    buffer: Vec<u8>,
    kept: bool,
}

enum At {
    /// Nothing was written yet.
    Nothing,
    /// More can be gathered meanwhile.
    Writing(JoinHandle<Result<File>>),
    Rest(File),
}

impl Growing {
    pub(super) fn new(path: PathBuf, from: u64, kept: bool) -> Self {
        Self { path, from, at: At::Nothing, buffer: Vec::new(), kept }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.is_empty() {
            self.buffer.reserve_exact(WRITE_BYTES + bytes.len());
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.flush(false).await } else { Ok(()) }
    }

    /// All of it is durable, with its name.
    pub(super) async fn save(&mut self) -> Result<()> {
        self.flush(true).await?;
        self.rest().await
    }

    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Hands over what was gathered, when what was handed over before is written.
    async fn flush(&mut self, durable: bool) -> Result<()> {
        self.rest().await?;
        let file = match std::mem::replace(&mut self.at, At::Nothing) {
            At::Rest(file) => Some(file),
            At::Nothing | At::Writing(_) => None,
        };
        let (bytes, path, from) = (std::mem::take(&mut self.buffer), self.path.clone(), self.from);
        self.at = At::Writing(tokio::task::spawn_blocking(move || {
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
        }));
        Ok(())
    }

    async fn rest(&mut self) -> Result<()> {
        if let At::Writing(writing) = &mut self.at {
            let written = writing.await.map_err(Error::internal)?;
            self.at = At::Nothing;
            self.at = At::Rest(written?);
        }
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

/// The bytes of a part, as they are taken.
pub(super) fn pieces(
    file: File,
    part: Range<u64>,
) -> impl Stream<Item = object_store::Result<Bytes>> + Send + 'static {
    futures::stream::try_unfold((file, part), |(mut file, part)| async move {
        if part.is_empty() {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            file.seek(SeekFrom::Start(part.start))?;
            let bytes = READ_BYTES.min(part.end - part.start);
            let mut piece = vec![0; usize::try_from(bytes).unwrap_or_default()];
            file.read_exact(&mut piece)?;
            Ok::<_, io::Error>((Bytes::from(piece), (file, part.start + bytes..part.end)))
        });
        let read = read.await.map_err(io::Error::other).and_then(|read| read);
        read.map(Some)
            .map_err(|error| object_store::Error::Generic { store: "folder", source: error.into() })
    })
}

impl Drop for Growing {
    fn drop(&mut self) {
        let at = std::mem::replace(&mut self.at, At::Nothing);
        let (false, Ok(runtime)) = (self.kept, tokio::runtime::Handle::try_current()) else {
            return;
        };
        let path = std::mem::take(&mut self.path);
        runtime.spawn(async move {
            match at {
                At::Nothing => return,
                At::Writing(writing) => drop(writing.await),
                At::Rest(file) => drop(file),
            }
            if let Err(error) = tokio::fs::remove_file(&path).await {
                tracing::warn!(%error, path = %path.display(), "an abandoned file stays");
            }
        });
    }
}
