//! `files`: reading what was shared and writing into the session's own folder.

use crate::sandbox::{
    guest::{Guest, Stop, within},
    scope::{Answer, Denied, Draft, File},
    world::aiybiz::agent::{files, types},
};
use files::{FileError, FilePage};
use std::future::Future;
use wasmtime::{Result, component::Resource};

/// The most that one `read` or `write` carries.
const CHUNK: u64 = 1 << 20;

/// Files in one page of a listing.
const PAGE: usize = 200;

/// The longest media type, in bytes.
const MEDIA_TYPE: usize = 255;

/// A file that is being read.
pub struct Reading {
    file: File,
    at: u64,
}

/// A file that is being written; dropped, its bytes are dropped with it.
pub struct Drafting(Draft);

impl files::Host for Guest {
    async fn list(&mut self, cursor: Option<String>) -> Result<Result<FilePage, FileError>> {
        self.call("files.list").await?;
        let scope = self.scope.clone();
        let listed = self.file_answer("files.list", scope.files()).await?;
        Ok(listed.map(|mut all| {
            // The cursor is the last path of the page before: it stays good when
            // files come and go between two pages.
            if let Some(after) = cursor {
                all.retain(|file| file.path > after);
            }
            let next = all.get(PAGE).map(|_| all[PAGE - 1].path.clone());
            all.truncate(PAGE);
            FilePage { files: all.into_iter().map(types::FileInfo::from).collect(), next }
        }))
    }

    async fn find(&mut self, path: String) -> Result<Result<types::FileInfo, FileError>> {
        self.call("files.find").await?;
        let found = self.find_file("files.find", |file| file.path == path).await?;
        Ok(found.map(types::FileInfo::from))
    }

    async fn open(
        &mut self,
        id: String,
        offset: u64,
    ) -> Result<Result<Resource<Reading>, FileError>> {
        self.call("files.open").await?;
        Ok(match self.find_file("files.open", |file| file.id == id).await? {
            Ok(file) => Ok(self.hold(Reading { file, at: offset })?),
            Err(refused) => Err(refused),
        })
    }

    async fn create(
        &mut self,
        path: String,
        media_type: Option<String>,
    ) -> Result<Result<Resource<Drafting>, FileError>> {
        self.call("files.create").await?;
        // A declaration, not a fact: one that cannot be a media type is none.
        let sound =
            |kind: &String| kind.len() <= MEDIA_TYPE && kind.chars().all(|c| !c.is_control());
        let media_type = media_type.filter(sound);
        let scope = self.scope.clone();
        let created = self.file_answer("files.create", scope.create(&path, media_type)).await?;
        Ok(match created {
            Ok(draft) => Ok(self.hold(Drafting(draft))?),
            Err(refused) => Err(refused),
        })
    }

    async fn remove(&mut self, id: String) -> Result<Result<(), FileError>> {
        self.call("files.remove").await?;
        let scope = self.scope.clone();
        self.file_answer("files.remove", scope.remove(&id)).await
    }
}

impl files::HostReader for Guest {
    async fn info(&mut self, this: Resource<Reading>) -> Result<types::FileInfo> {
        self.call("reader.info").await?;
        Ok(self.table.get(&this)?.file.clone().into())
    }

    async fn read(
        &mut self,
        this: Resource<Reading>,
        max: u32,
    ) -> Result<Result<Vec<u8>, FileError>> {
        self.call("reader.read").await?;
        let Reading { file, at } = self.table.get(&this)?;
        let (file, at) = (file.clone(), *at);
        let wanted = u64::from(max).clamp(1, CHUNK).min(file.size.saturating_sub(at));
        if wanted == 0 {
            return Ok(Ok(Vec::new()));
        }
        self.used.read_bytes += wanted;
        if self.used.read_bytes > self.limits.file_read_bytes {
            return Err(Stop::Budget("fileReadBytes", self.limits.file_read_bytes).into());
        }
        let scope = self.scope.clone();
        let read = self.file_answer("reader.read", scope.read(&file, at, wanted)).await?;
        if let Ok(bytes) = &read {
            self.table.get_mut(&this)?.at += bytes.len() as u64;
        }
        Ok(read.map(Vec::from))
    }

    async fn drop(&mut self, this: Resource<Reading>) -> Result<()> {
        self.release(this)?;
        Ok(())
    }
}

impl files::HostWriter for Guest {
    async fn write(
        &mut self,
        this: Resource<Drafting>,
        bytes: Vec<u8>,
    ) -> Result<Result<(), FileError>> {
        self.call("writer.write").await?;
        let size = bytes.len() as u64;
        if size > CHUNK {
            return Ok(Err(FileError::QuotaExceeded(CHUNK)));
        }
        if self.used.write_bytes + size > self.limits.file_write_bytes {
            return Ok(Err(FileError::QuotaExceeded(self.limits.file_write_bytes)));
        }
        let draft = &self.table.get(&this)?.0;
        if draft.upload.size() + size > draft.room {
            return Ok(Err(FileError::QuotaExceeded(draft.room)));
        }
        self.used.write_bytes += size;
        let limit = self.limits.host_call();
        let upload = &mut self.table.get_mut(&this)?.0.upload;
        let written = async {
            upload.write(bytes.into()).await.map_err(|error| {
                tracing::error!(%error, "a guest's file could not be written");
                Denied::Unavailable("the object store failed".into())
            })
        };
        Ok(within(limit, "writer.write", written).await?.map_err(FileError::from))
    }

    async fn finish(
        &mut self,
        this: Resource<Drafting>,
    ) -> Result<Result<types::FileInfo, FileError>> {
        self.call("writer.finish").await?;
        let Drafting(draft) = self.release(this)?;
        let scope = self.scope.clone();
        let published = self.file_answer("writer.finish", scope.publish(draft)).await?;
        Ok(published.map(types::FileInfo::from))
    }

    async fn drop(&mut self, this: Resource<Drafting>) -> Result<()> {
        self.release(this)?;
        Ok(())
    }
}

impl Guest {
    async fn file_answer<T>(
        &mut self,
        name: &'static str,
        answer: impl Future<Output = Answer<T>>,
    ) -> Result<Result<T, FileError>> {
        Ok(within(self.limits.host_call(), name, answer).await?.map_err(FileError::from))
    }

    async fn find_file(
        &mut self,
        name: &'static str,
        wanted: impl Fn(&File) -> bool,
    ) -> Result<Result<File, FileError>> {
        let scope = self.scope.clone();
        let all = self.file_answer(name, scope.files()).await?;
        Ok(all.and_then(|all| all.into_iter().find(wanted).ok_or(FileError::NotFound)))
    }
}

impl From<File> for types::FileInfo {
    fn from(file: File) -> Self {
        Self {
            id: file.id,
            path: file.path,
            size: file.size,
            media_type: file.media_type,
            modified_at: file.modified_at.as_millis(),
            writable: file.writable,
        }
    }
}

impl From<Denied> for FileError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NotFound => Self::NotFound,
            Denied::NoFolder => Self::NoFolder,
            Denied::ReadOnly => Self::ReadOnly,
            Denied::InvalidPath => Self::InvalidPath,
            Denied::InvalidCursor => Self::InvalidCursor,
            Denied::QuotaExceeded(limit) => Self::QuotaExceeded(limit),
            denied => Self::Unavailable(denied.to_string()),
        }
    }
}
