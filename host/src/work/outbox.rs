//! Sending what is to be mailed.
//!
//! A mail is claimed for two minutes, handed to the mail server outside any transaction,
//! and what became of it is written down. One whose sender dies on the way is sent
//! again: twice is better than never. Without a mail server, it is shown to operators.

use crate::{
    accounts::{self, links},
    error::{Error, Result},
    host::Host,
    mails::{self, Content, Mail},
    storage::Json,
};
use futures::{StreamExt, stream};
use lettre::{AsyncTransport, Message, message::header::ContentType, transport::smtp};
use std::time::Duration;

/// How long something due may wait when nobody said so.
const LOOK: Duration = Duration::from_secs(10);

/// Mails claimed at once, and sent at once: what one server takes of one client.
const BATCH: i64 = 20;
const AT_ONCE: usize = 4;

/// Begins to send, until the host stops.
pub(super) fn start(host: &Host) {
    let worker = host.clone();
    host.tasks.spawn(async move {
        while !worker.stopping.is_cancelled() {
            match send(&worker).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "cannot look for what is to be mailed"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = worker.posted.notified() => {}
                () = worker.stopping.cancelled() => {}
            }
        }
    });
}

/// Sends some; false when nothing was due.
pub async fn send(host: &Host) -> Result<bool> {
    let mut tx = host.db.write().await?;
    let claimed = mails::claim(&mut tx, &host.clock, BATCH).await?;
    if claimed.is_empty() {
        return Ok(false);
    }
    tx.commit().await?;
    stream::iter(claimed)
        .for_each_concurrent(AT_ONCE, async |mail| {
            let id = mail.id;
            if let Err(error) = one(host, mail).await {
                tracing::error!(%error, mail = %id, "a mail could not be sent; it is due again soon");
            }
        })
        .await;
    Ok(true)
}

async fn one(host: &Host, mail: Mail) -> Result<()> {
    let Some(mail) = addressed(host, mail).await? else { return Ok(()) };
    let said = match &host.smtp {
        None => Said::Nobody,
        Some(server) => match written(host, &mail) {
            Err(error) => Said::No(format!("{error:#}"), true),
            Ok(message) => match server.send(message).await {
                Ok(_) => Said::Yes,
                Err(error) => Said::No(error.to_string(), is_for_good(&error)),
            },
        },
    };
    let mut tx = host.db.write().await?;
    match said {
        Said::Yes => mails::sent(&mut tx, &host.clock, mail.id).await?,
        Said::No(why, for_good) => {
            tracing::warn!(mail = %mail.id, %why, "the mail server did not take a mail");
            mails::failed(&mut tx, &host.clock, &mail, &why, for_good).await?;
        }
        Said::Nobody => {
            let link = link(host, &mail.content);
            tracing::info!(to = %mail.email, %link, "no mail server: pass this on; /admin/mails has it all");
            mails::shown(&mut tx, mail.id).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// What the mail server said.
enum Said {
    Yes,
    /// Why, and whether there is no use in trying again.
    No(String, bool),
    Nobody,
}

/// The mail with its link, if it needs one that is not there yet; none when nobody is to
/// get it.
async fn addressed(host: &Host, mut mail: Mail) -> Result<Option<Mail>> {
    if !matches!(mail.content.0, Content::PasswordForgotten) {
        return Ok(Some(mail));
    }
    let mut tx = host.db.write().await?;
    let known = accounts::by_email(&mut tx, &mail.email).await?;
    let found = match known {
        None => {
            mails::drop(&mut tx, mail.id).await?;
            None
        }
        Some((user, _)) => {
            let link = links::for_password(&mut tx, &host.clock, user.id).await?;
            mail.content = Json(Content::PasswordReset { link });
            mails::becomes(&mut tx, mail.id, &mail.content).await?;
            Some(mail)
        }
    };
    tx.commit().await?;
    Ok(found)
}

/// Where the mail's link leads; empty when it has none.
pub fn link(host: &Host, content: &Content) -> String {
    let (url, key) = (host.public_url(), &host.key);
    match content {
        Content::Invitation { invitation, number, .. } => {
            let token = links::invitation_token(key, *invitation, *number);
            format!("{url}/links/invitation#{token}")
        }
        Content::PasswordReset { link } => {
            format!("{url}/links/password#{}", links::token(key, *link))
        }
        Content::EmailChange { link } => {
            format!("{url}/links/email#{}", links::token(key, *link))
        }
        _ => String::new(),
    }
}

fn written(host: &Host, mail: &Mail) -> Result<Message> {
    let letter = mail.content.letter(&link(host, &mail.content));
    let from = host.config.mail.from().map_err(Error::internal)?;
    let from = from.ok_or_else(|| Error::internal(anyhow::anyhow!("nobody to be from")))?;
    let domain = from.email.domain().to_owned();
    Message::builder()
        .from(from)
        .to(mail.email.parse().map_err(Error::internal)?)
        .subject(letter.subject)
        // The same at every try, so that a mail that comes twice is known for one.
        .message_id(Some(format!("<{}@{domain}>", mail.id)))
        .header(ContentType::TEXT_PLAIN)
        .body(letter.text)
        .map_err(Error::internal)
}

/// RFC 5321, section 4.2.1: what begins with 5 is not to be tried again.
fn is_for_good(error: &smtp::Error) -> bool {
    error.is_permanent()
}
