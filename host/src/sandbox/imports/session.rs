//! `session`: replying, whole and in pieces, and the conversation so far.

use crate::{
    id::EventId,
    sandbox::{
        guest::{Guest, Stop, within},
        scope::{Author, Denied, Message},
        world::aiybiz::agent::{session, types},
    },
};
use session::{HistoryError, HistoryPage, ReplyError};
use wasmtime::{Result, component::Resource};

/// The longest single reply, in bytes. A page of Markdown is 5 KB; a long answer
/// of a language model 40 KB.
pub(crate) const REPLY_BYTES: usize = 256 << 10;

/// The longest page of the history.
const PAGE: u32 = 100;

/// A reply that is being written.
pub struct Writing {
    id: EventId,
    ordinal: u64,
    text: String,
    /// Length of the text in UTF-16 units, in which clients count.
    units: u64,
}

impl session::Host for Guest {
    async fn id(&mut self) -> Result<String> {
        self.call("session.id").await?;
        Ok(self.facts.session_id.clone())
    }

    async fn started_at(&mut self) -> Result<u64> {
        self.call("session.started-at").await?;
        Ok(self.facts.started_at.as_millis())
    }

    async fn reply(&mut self, content: String) -> Result<Result<String, ReplyError>> {
        self.call("session.reply").await?;
        if let Err(refused) = checked(&content) {
            return Ok(Err(refused));
        }
        self.spend_reply(content.len())?;
        let id = self.scope.new_reply_id();
        let ordinal = self.next_ordinal();
        self.send(id, ordinal, storable(content)).await
    }

    async fn begin_reply(&mut self) -> Result<Result<Resource<Writing>, ReplyError>> {
        self.call("session.begin-reply").await?;
        let id = self.scope.new_reply_id();
        let ordinal = self.next_ordinal();
        let writing = Writing { id, ordinal, text: String::new(), units: 0 };
        Ok(Ok(self.hold(writing)?))
    }

    async fn send_typing(&mut self) -> Result<()> {
        self.call("session.send-typing").await?;
        self.scope.typing();
        Ok(())
    }

    async fn history(
        &mut self,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<Result<HistoryPage, HistoryError>> {
        self.call("session.history").await?;
        let Ok(after) = cursor.as_deref().unwrap_or("0").parse::<i64>() else {
            return Ok(Err(HistoryError::InvalidCursor));
        };
        let scope = self.scope.clone();
        let page = scope.history(after, limit.clamp(1, PAGE));
        Ok(match within(self.limits.host_call(), "session.history", page).await? {
            Ok((messages, next)) => Ok(HistoryPage {
                messages: messages.into_iter().map(types::Message::from).collect(),
                next: next.map(|seq| seq.to_string()),
            }),
            Err(denied) => Err(HistoryError::Unavailable(denied.to_string())),
        })
    }
}

impl session::HostReplyStream for Guest {
    async fn write(
        &mut self,
        this: Resource<Writing>,
        piece: String,
    ) -> Result<Result<(), ReplyError>> {
        self.call("reply-stream.write").await?;
        let whole = self.table.get(&this)?.text.len() + piece.len();
        if whole > REPLY_BYTES {
            return Ok(Err(too_long()));
        }
        self.spend_reply(piece.len())?;
        let piece = storable(piece);
        let writing = self.table.get_mut(&this)?;
        self.scope.delta(writing.id, writing.units, &piece);
        writing.units += piece.encode_utf16().count() as u64;
        writing.text.push_str(&piece);
        let id = writing.id;
        self.half_said.insert(id);
        Ok(Ok(()))
    }

    async fn finish(&mut self, this: Resource<Writing>) -> Result<Result<String, ReplyError>> {
        self.call("reply-stream.finish").await?;
        let Writing { id, ordinal, text, .. } = self.release(this)?;
        if let Err(refused) = checked(&text) {
            return Ok(Err(refused));
        }
        let sent = self.send(id, ordinal, text).await?;
        if sent.is_ok() {
            self.half_said.remove(&id);
        }
        Ok(sent)
    }

    async fn drop(&mut self, this: Resource<Writing>) -> Result<()> {
        let writing = self.release(this)?;
        // When nothing was shown yet, nothing failed in anybody's eyes.
        if self.half_said.remove(&writing.id) {
            let scope = self.scope.clone();
            let told = scope.abandoned(writing.id);
            let _ = within(self.limits.host_call(), "reply-stream.drop", told).await?;
        }
        Ok(())
    }
}

impl Guest {
    /// Gives up the replies that the guest left half said: it kept their handles,
    /// or was stopped.
    pub(crate) async fn give_up_half_said(&mut self) {
        while let Some(id) = self.half_said.pop_first() {
            let told =
                within(self.limits.host_call(), "reply-stream.drop", self.scope.abandoned(id));
            if let Err(stop) = told.await {
                tracing::warn!(%stop, "replies that were left half said stay so");
                return;
            }
        }
    }

    async fn send(
        &mut self,
        id: EventId,
        ordinal: u64,
        content: String,
    ) -> Result<Result<String, ReplyError>> {
        let scope = self.scope.clone();
        let stored = scope.reply(ordinal, id, content);
        Ok(match within(self.limits.host_call(), "session.reply", stored).await? {
            Ok(id) => Ok(id.to_string()),
            Err(Denied::Ended) => Err(ReplyError::Ended),
            Err(denied) => Err(ReplyError::Unavailable(denied.to_string())),
        })
    }

    fn next_ordinal(&mut self) -> u64 {
        self.ordinal += 1;
        self.ordinal
    }

    fn spend_reply(&mut self, bytes: usize) -> Result<(), Stop> {
        self.used.replies += 1;
        self.used.reply_bytes += bytes as u64;
        if self.used.replies > self.limits.replies {
            return Err(Stop::Budget("replies", self.limits.replies));
        }
        if self.used.reply_bytes > self.limits.reply_bytes {
            return Err(Stop::Budget("replyBytes", self.limits.reply_bytes));
        }
        Ok(())
    }
}

fn checked(content: &str) -> Result<(), ReplyError> {
    if content.trim().is_empty() || content.len() > REPLY_BYTES {
        return Err(too_long());
    }
    Ok(())
}

/// PostgreSQL stores no NUL in text. Its stand-in is longer by two bytes.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn too_long() -> ReplyError {
    ReplyError::InvalidLength(REPLY_BYTES as u32)
}

impl From<Message> for types::Message {
    fn from(message: Message) -> Self {
        Self {
            id: message.id,
            author: match message.author {
                Author::Client => types::Author::Client,
                Author::Agent => types::Author::Agent,
                Author::Platform => types::Author::Platform,
            },
            content: message.content,
            created_at: message.created_at.as_millis(),
            attachments: Vec::new(),
        }
    }
}
