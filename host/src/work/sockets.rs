//! The sockets' heartbeat: pings all of them, gives up those that are silent, and keeps
//! the rows by which other processes know where they are.

use crate::{
    bus::Signal,
    delivery::socket::{Line, Parting},
    error::Result,
    host::Host,
    id::{SessionId, SocketId},
    sessions::{
        self,
        sockets::{self, BEAT, SILENCE},
    },
    timestamp::Timestamp,
};

/// Rows written in one transaction: nobody waits for more than a few milliseconds.
const BATCH: usize = 100;

/// Beats until the host stops.
pub(super) fn start(host: &Host) {
    let host = host.clone();
    host.tasks.clone().spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(BEAT) => {}
                () = host.stopping.cancelled() => return,
            }
            if let Err(error) = beat(&host).await {
                tracing::error!(%error, "it cannot be written down which sockets are alive");
            }
        }
    });
}

/// Once around all sockets of this process.
pub async fn beat(host: &Host) -> Result<()> {
    let all = host.sockets.all();
    let now = host.clock.now();
    let (silent, alive): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, line)| now.since(line.heard()) > SILENCE);
    for (_, line) in silent {
        line.close(Parting::Stale);
    }
    for (_, line) in &alive {
        line.ping();
    }
    for batch in alive.chunks(BATCH) {
        for (session, line) in written(host, batch).await? {
            match parted(host, session, line.id).await? {
                Some(parting) => line.close(parting),
                None => attach(host, session, line.id, now).await?,
            }
        }
    }
    Ok(())
}

/// Writes when they were heard; those that are not their session's any more.
async fn written(host: &Host, batch: &[(SessionId, Line)]) -> Result<Vec<(SessionId, Line)>> {
    let mut lost = Vec::new();
    let mut tx = host.db.write().await?;
    for (session, line) in batch {
        if !sockets::heard(&mut tx, *session, line.id, line.heard()).await? {
            lost.push((*session, line.clone()));
        }
    }
    tx.commit().await?;
    Ok(lost)
}

/// Why this is not the session's socket any more; none when it is.
pub async fn parted(host: &Host, session: SessionId, id: SocketId) -> Result<Option<Parting>> {
    let mut tx = host.db.look().await?;
    match sockets::holder(&mut tx, session).await? {
        Some(holder) if holder == id => return Ok(None),
        Some(_) => return Ok(Some(Parting::Replaced)),
        None => {}
    }
    if sessions::find(&mut tx, session).await?.is_none_or(|session| session.over()) {
        return Ok(Some(Parting::Over));
    }
    // It is being attached; or it could not be written down for so long that another
    // process took it for dead.
    let known = host.sockets.of(session).is_some_and(|line| line.id == id);
    Ok((!known).then_some(Parting::Replaced))
}

/// It is the session's socket after all.
async fn attach(host: &Host, session: SessionId, id: SocketId, now: Timestamp) -> Result<()> {
    let mut tx = host.db.write().await?;
    sockets::attach(&mut tx, session, id, host.node, now).await?;
    Ok(tx.commit().await?)
}

/// Gives up the sockets of processes that died; says so to who reads.
pub(super) async fn sweep(host: &Host, now: Timestamp) -> Result<()> {
    let mut tx = host.db.write().await?;
    let gone = sockets::sweep(&mut tx, now - SILENCE).await?;
    tx.commit().await?;
    for session in gone {
        host.bus.announce(session, Signal::Presence);
    }
    Ok(())
}
