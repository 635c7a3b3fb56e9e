//! Uploads that go on where they broke off: one takes the writer's place, stores what
//! comes, writes down how far it is, and makes the file when all is there.

mod checksum;
mod place;

pub use checksum::Checksum;

use super::body::{self, Next};
use crate::{
    error::{Error, Kind, Result},
    files::{
        doomed,
        resumable::{self, Progress, Resumable},
        tree, uploads,
    },
    host::Host,
    id::{CompanyId, NodeId},
    objects::{SoFar, Upload, part_bytes},
};
use bytes::Bytes;
use checksum::Digesting;
use futures::Stream;
use place::Place;

/// What is stored before it is written down: as much is sent again after a crash.
const STEP: u64 = 32 << 20;

/// How far an upload is.
pub struct At {
    pub offset: u64,
    pub length: u64,
    /// None of a file that is complete.
    pub upload: Option<Resumable>,
}

/// A piece that is sent.
pub struct Piece {
    pub offset: u64,
    /// How many bytes it has, if that was said.
    pub length: Option<u64>,
    pub checksum: Option<Checksum>,
}

/// How far the upload is. Whoever is writing stops: he who asks wants to go on.
pub async fn at(host: &Host, company: CompanyId, node: NodeId) -> Result<At> {
    let Some(place) = Place::take(host, company, node).await? else {
        let node = tree::find(&mut host.db.look().await?, company, node).await?;
        let size = node.file_size.and_then(|size| u64::try_from(size).ok());
        let length = size.ok_or(Error::not_found("upload"))?;
        return Ok(At { offset: length, length, upload: None });
    };
    place.leave().await
}

/// Stores a piece as it comes. What came before a line broke is kept, unless there is a
/// checksum for the whole.
pub async fn receive<E>(
    host: &Host,
    company: CompanyId,
    node: NodeId,
    piece: Piece,
    body: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
) -> Result<At> {
    let mut place = open(host, company, node).await?;
    let keeper = place.keeper();
    let received = keeper.during(place.receive(piece, body)).await;
    let left = place.leave().await;
    received.and(left)
}

/// Gives the upload up.
pub async fn terminate(host: &Host, company: CompanyId, node: NodeId) -> Result<()> {
    let place = open(host, company, node).await?;
    let mut tx = host.db.write().await?;
    resumable::terminate(&mut tx, host.clock.now(), &place.upload, place.writer).await?;
    Ok(tx.commit().await?)
}

/// The place at an upload that is not over.
async fn open(host: &Host, company: CompanyId, node: NodeId) -> Result<Place<'_>> {
    if let Some(place) = Place::take(host, company, node).await? {
        return Ok(place);
    }
    tree::find(&mut host.db.look().await?, company, node).await?;
    Err(uploads::over())
}

/// Makes files of uploads that have everything.
pub(super) async fn complete(host: &Host, limit: i64) -> Result<()> {
    let now = host.clock.now();
    let full = resumable::full(&mut host.db.read().await?, now, limit).await?;
    for (company, node) in full {
        if let Err(error) = at(host, company, node).await {
            tracing::warn!(%error, %node, "an upload could not be completed");
        }
    }
    Ok(())
}

impl Place<'_> {
    async fn receive<E>(
        &mut self,
        piece: Piece,
        mut body: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    ) -> Result<()> {
        let left = self.check(&piece)?;
        let mut digesting = piece.checksum.map(Digesting::new);
        let mut object = self.open().await?;
        let mut parts = object.parts().len();
        let broken = loop {
            let bytes = match self.next(&mut body).await {
                Next::Piece(bytes) => bytes,
                Next::End => break None,
                Next::Broken(why) => break Some(why),
            };
            if object.size() - piece.offset + bytes.len() as u64 > left {
                return Err(beyond(left));
            }
            if let Some(digesting) = &mut digesting {
                digesting.update(&bytes);
            }
            object.write(bytes).await?;
            if digesting.is_none() && object.size() - self.upload.received() >= STEP {
                let received = object.save().await?;
                if received > self.upload.received() {
                    self.progress(&object, received, &mut parts, None).await?;
                }
            }
        };
        let right = match (digesting, &broken) {
            (None, _) => true,
            (Some(digesting), None) => digesting.comes_out(),
            // Nobody can tell.
            (Some(_), Some(_)) => false,
        };
        if right {
            self.keep(&mut object, &mut parts).await?;
        }
        match broken {
            Some(broken) => Err(broken),
            None if right => Ok(()),
            None => Err(damaged()),
        }
    }

    /// How many bytes may come.
    fn check(&self, piece: &Piece) -> Result<u64> {
        let (received, length) = (self.upload.received(), self.upload.length());
        if piece.offset != received {
            let detail = format!("says {}, and {received} bytes are here", piece.offset);
            let mut error = Error::field("Upload-Offset", detail);
            (error.kind, error.code) = (Kind::Conflict, "wrong_offset");
            return Err(error);
        }
        let left = length - received;
        if piece.length.is_some_and(|length| length > left) {
            return Err(beyond(left));
        }
        Ok(left)
    }

    async fn open(&self) -> Result<Upload> {
        let (host, upload) = (self.host, &self.upload);
        let parts = resumable::parts(&mut host.db.read().await?, upload.node_id).await?;
        let rest = match &upload.tail_key {
            Some(key) => host.objects.get(key).await?,
            None => Bytes::new(),
        };
        let so_far = SoFar {
            bytes: upload.received(),
            part_bytes: part_bytes(upload.length()),
            multipart: upload.multipart.clone(),
            parts,
            rest,
        };
        host.objects.resume(&upload.object_key, so_far)
    }

    async fn next<E>(
        &self,
        body: &mut (impl Stream<Item = std::result::Result<Bytes, E>> + Unpin),
    ) -> Next {
        tokio::select! {
            next = body::next(body) => next,
            () = self.wanted.cancelled() => Next::Broken(resumable::lost()),
            () = self.host.stopping.cancelled() => {
                let detail = "this host is stopping; go on with another";
                Next::Broken(Error::new(Kind::Unavailable(1), "stopping", detail))
            }
        }
    }

    /// Keeps all that came.
    async fn keep(&mut self, object: &mut Upload, parts: &mut usize) -> Result<()> {
        let size = object.size();
        if size == self.upload.received() {
            return Ok(());
        }
        if size == self.upload.length() {
            object.seal().await?;
            return self.progress(object, size, parts, None).await;
        }
        object.save().await?;
        let rest = object.rest();
        if rest.is_empty() {
            return self.progress(object, size, parts, None).await;
        }
        // Too little for a part: it waits in an object of its own.
        let (host, key) = (self.host, format!("{}.{size}", self.upload.object_key));
        let mut tx = host.db.write().await?;
        doomed::writing(&mut tx, &host.clock, &key).await?;
        tx.commit().await?;
        host.objects.put(&key, rest).await?;
        self.progress(object, size, parts, Some(&key)).await
    }

    async fn progress(
        &mut self,
        object: &Upload,
        received: u64,
        before: &mut usize,
        tail: Option<&str>,
    ) -> Result<()> {
        let parts = object.parts();
        let progress = Progress {
            received,
            multipart: object.multipart(),
            parts: &parts[*before..],
            first: *before,
            tail,
        };
        let mut tx = self.host.db.write().await?;
        let (clock, upload) = (&self.host.clock, &mut self.upload);
        if !resumable::progress(&mut tx, clock, upload, self.writer, &progress).await? {
            return Err(resumable::lost());
        }
        tx.commit().await?;
        *before = parts.len();
        Ok(())
    }
}

fn beyond(left: u64) -> Error {
    let detail = format!("the upload has room for {left} more bytes");
    Error::new(Kind::TooLarge, "beyond_length", detail)
}

fn damaged() -> Error {
    let detail = "Upload-Checksum: what came has another checksum; nothing of it was kept";
    let mut error = Error::new(Kind::Damaged, "checksum_mismatch", detail);
    error.problems = Error::field("Upload-Checksum", "what came has another checksum").problems;
    error
}
