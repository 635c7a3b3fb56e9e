//! The place at an upload: one has it at a time, keeps it while he is busy, and makes the
//! file before he leaves when everything is there.

use super::At;
use crate::{
    error::Result,
    files::resumable::{self, LEASE, Resumable, Stay},
    host::Host,
    id::{ClaimId, CompanyId, NodeId},
};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often a writer keeps his place.
const STAY: Duration = Duration::from_millis(1_500);

/// How often one who waits for the place looks.
const LOOK: Duration = Duration::from_millis(100);

/// Somebody's place at an upload.
pub(super) struct Place<'h> {
    pub(super) host: &'h Host,
    pub(super) writer: ClaimId,
    pub(super) upload: Resumable,
    /// Somebody else wants it, or has it.
    pub(super) wanted: CancellationToken,
}

impl<'h> Place<'h> {
    /// None when there is no such upload any more.
    pub(super) async fn take(
        host: &'h Host,
        company: CompanyId,
        node: NodeId,
    ) -> Result<Option<Self>> {
        let writer = host.lease().claim;
        let until = Instant::now() + LEASE + STAY;
        loop {
            let mut tx = host.db.write().await?;
            let now = host.clock.now();
            let found = resumable::find(&mut tx, company, node, now).await?;
            let Some(upload) = found else { return Ok(None) };
            let taken = resumable::claim(&mut tx, node, writer, now).await?;
            tx.commit().await?;
            if taken {
                return Ok(Some(Self { host, writer, upload, wanted: CancellationToken::new() }));
            }
            if Instant::now() > until {
                return Err(resumable::lost());
            }
            sleep(LOOK).await;
        }
    }

    /// Makes the file, if everything is there, and gives the place up.
    pub(super) async fn leave(mut self) -> Result<At> {
        let (host, keeper, upload) = (self.host, self.keeper(), &mut self.upload);
        let (offset, length) = (upload.received(), upload.length());
        if offset == length {
            let node = upload.node_id;
            let parts = resumable::parts(&mut host.db.read().await?, node).await?;
            let (key, multipart) = (&upload.object_key, upload.multipart.as_deref());
            if length > 0 {
                let assembled = host.objects.assemble(key, multipart, parts, length);
                keeper.during(assembled).await?;
            } else {
                host.objects.put(&upload.object_key, Bytes::new()).await?;
            }
            let mut tx = host.db.write().await?;
            if !resumable::complete(&mut tx, &host.clock, upload, self.writer).await? {
                return Err(resumable::lost());
            }
            tx.commit().await?;
        } else {
            let mut tx = host.db.write().await?;
            resumable::leave(&mut tx, upload.node_id, self.writer).await?;
            tx.commit().await?;
        }
        Ok(At { offset, length, upload: Some(self.upload) })
    }

    pub(super) fn keeper(&self) -> Keeper {
        let (host, wanted) = (self.host.clone(), self.wanted.clone());
        Keeper { host, node: self.upload.node_id, writer: self.writer, wanted }
    }
}

/// Keeps a place while its owner is busy.
pub(super) struct Keeper {
    host: Host,
    node: NodeId,
    writer: ClaimId,
    wanted: CancellationToken,
}

impl Keeper {
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let staying = async {
            loop {
                sleep(STAY).await;
                match self.stay().await {
                    Ok(Stay::Alone) => {}
                    Ok(Stay::Wanted | Stay::Lost) => self.wanted.cancel(),
                    Err(error) => tracing::warn!(%error, "the place at an upload may be lost"),
                }
            }
        };
        tokio::select! { done = work => done, never = staying => never }
    }

    async fn stay(&self) -> Result<Stay> {
        let mut tx = self.host.db.write().await?;
        let now = self.host.clock.now();
        let stay = resumable::stay(&mut tx, self.node, self.writer, now).await?;
        tx.commit().await?;
        Ok(stay)
    }
}
