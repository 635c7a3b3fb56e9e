//! What an operator sets of mail: the server that takes it, and who it is from.

use anyhow::{Context, Result, bail};
use clap::Args;
use lettre::{
    AsyncSmtpTransport, Tokio1Executor, message::Mailbox,
    transport::smtp::AsyncSmtpTransportBuilder,
};
use serde::{Deserialize, Serialize};

/// Flags, and the file's table `[mail]`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Given {
    /// The server that takes mail: smtps://USER:PASSWORD@HOST,
    /// smtp://USER:PASSWORD@HOST:587?tls=required, or smtp://HOST for one on this machine
    /// [default: none, an operator passes links on]
    #[arg(long, env = "AIYBIZ_SMTP_URL", hide_env_values = true, global = true)]
    pub smtp_url: Option<String>,
    /// Who mail is from, such as `Aiybiz <agents@example.com>`
    #[arg(long, env = "AIYBIZ_MAIL_FROM", global = true)]
    pub mail_from: Option<String>,
}

/// The settings as they are in force.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    #[serde(skip)]
    pub smtp_url: Option<String>,
    pub mail_from: Option<String>,
}

impl Mail {
    pub(super) fn of(flags: Given, file: Given) -> Result<Self> {
        let text = |flag: Option<String>, file: Option<String>| {
            flag.or(file).filter(|text| !text.trim().is_empty())
        };
        let mail = Self {
            smtp_url: text(flags.smtp_url, file.smtp_url),
            mail_from: text(flags.mail_from, file.mail_from),
        };
        mail.server()?;
        match (&mail.smtp_url, mail.from()?) {
            (Some(_), None) => bail!("mailFrom must be given together with smtpUrl"),
            _ => Ok(mail),
        }
    }

    /// None: there is no mail server.
    pub fn server(&self) -> Result<Option<AsyncSmtpTransportBuilder>> {
        let Some(url) = &self.smtp_url else { return Ok(None) };
        // The error repeats the address, which may hold a password.
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).ok();
        server.map(Some).context("smtpUrl must be smtp://… or smtps://…")
    }

    pub fn from(&self) -> Result<Option<Mailbox>> {
        let from = self.mail_from.as_deref().map(str::parse::<Mailbox>).transpose();
        from.context("mailFrom must be a mail address, or a name and one in angle brackets")
    }
}
