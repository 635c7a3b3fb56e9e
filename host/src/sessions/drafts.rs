//! Replies of webhook agents that arrive in pieces. They are kept in the database,
//! so that any process can take the next piece and a restart loses none.

use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{EventId, SessionId},
    storage::Tx,
};

/// Replies in pieces that a session may have open at once.
const OPEN: i64 = 16;

/// A reply so far.
#[derive(Debug, sqlx::FromRow)]
pub struct Draft {
    pub message_id: EventId,
    pub content: String,
}

/// One that was taken away, with its name.
#[derive(Debug, sqlx::FromRow)]
pub struct Taken {
    pub stream_id: String,
    pub message_id: EventId,
    pub content: String,
}

/// Adds a piece; the first one begins the draft. Returns it as it is now.
pub async fn append(
    tx: &mut Tx,
    clock: &Clock,
    session: SessionId,
    stream: &str,
    piece: &str,
    most: usize,
) -> Result<Draft> {
    let now = clock.now();
    let draft: Draft = tx
        .query(
            "INSERT INTO drafts (session_id, stream_id, message_id, content, updated_at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (session_id, stream_id)
             DO UPDATE SET content = drafts.content || excluded.content,
                 updated_at = excluded.updated_at
             RETURNING message_id, content",
        )
        .bind(session)
        .bind(stream)
        .bind(clock.id::<EventId>())
        .bind(piece)
        .bind(now)
        .one()
        .await?;
    if draft.content.len() > most {
        let detail = format!("the reply is longer than {most} bytes");
        return Err(Error::new(Kind::TooLarge, "reply_too_long", detail));
    }
    let sql = "SELECT COUNT(*) FROM drafts WHERE session_id = $1";
    let (open,): (i64,) = tx.query(sql).bind(session).one().await?;
    if open > OPEN {
        let detail = format!("{OPEN} replies are being streamed already; finish one");
        return Err(Error::conflict("too_many_streams", detail));
    }
    Ok(draft)
}

/// Takes those of a session away: nobody can go on with them.
pub async fn take_all(tx: &mut Tx, session: SessionId) -> Result<Vec<Taken>> {
    let sql = "DELETE FROM drafts WHERE session_id = $1 RETURNING stream_id, message_id, content";
    Ok(tx.query(sql).bind(session).all().await?)
}

pub async fn delete_all(tx: &mut Tx, session: SessionId) -> Result<()> {
    tx.query("DELETE FROM drafts WHERE session_id = $1").bind(session).run().await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx, session: SessionId, stream: &str) -> Result<()> {
    let sql = "DELETE FROM drafts WHERE session_id = $1 AND stream_id = $2";
    tx.query(sql).bind(session).bind(stream).run().await?;
    Ok(())
}
