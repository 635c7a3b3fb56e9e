//! What a client sends, piece by piece, as long as it sends.

use crate::error::{Error, Kind};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use std::time::Duration;

/// How long a sender may send nothing.
const IDLE: Duration = Duration::from_mins(1);

pub enum Next {
    Piece(Bytes),
    End,
    /// No more will come, for this reason.
    Broken(Error),
}

/// Waits for more.
pub async fn next<E>(body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) -> Next {
    let broken = |code, detail| Next::Broken(Error::new(Kind::Invalid, code, detail));
    match tokio::time::timeout(IDLE, body.next()).await {
        Ok(Some(Ok(bytes))) => Next::Piece(bytes),
        Ok(None) => Next::End,
        Ok(Some(Err(_))) => broken("body_incomplete", "the body broke off".to_owned()),
        Err(_) => broken("body_stalled", format!("nothing came for {IDLE:?}")),
    }
}
