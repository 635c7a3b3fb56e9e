//! What an operator sets: flags over environment over file over defaults.
//!
//! Every flag has its environment variable; the file is TOML with the same names in
//! camelCase, and an unknown name in it is an error. Secrets that nobody gave are
//! made once and kept in the data folder.

pub mod mail;
pub mod money;
pub mod web;

use crate::{
    clock::Clock,
    files::usage::Quota,
    objects::Place,
    sandbox::{Limits, Pool},
    seal::Key,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use ipnet::IpNet;
use mail::Mail;
use money::Money;
use serde::{Deserialize, Serialize};
use std::{
    io::Write,
    net::SocketAddr,
    num::NonZeroU32,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use web::Web;

/// Every instance reserves address space for its memories, of which a process has
/// 128 TiB.
const MOST_INSTANCES: u64 = 4_096;

/// What a 32-bit memory can have.
const MOST_MEMORY: u64 = 4 << 30;

/// A month: whoever complains of an answer does so within it.
const RECEIPT_DAYS: u64 = 30;

/// Ten years; what is to be kept for longer belongs elsewhere.
const MOST_RECEIPT_DAYS: u64 = 3_650;

/// Some 200 MB of an agent that logs a page per event.
const RECEIPTS_PER_AGENT: u64 = 100_000;

const MOST_RECEIPTS_PER_AGENT: u64 = 100_000_000;

/// Ten minutes, as the contract says (§7): time for a server to wake up.
const PROVISIONING_SECONDS: u64 = 600;

/// Five minutes: the published SDK comes back within 36 s, and beats every 30.
const STALE_SECONDS: u64 = 300;

/// Ten minutes, as Mercure has them: long enough to be rare, short enough for what is
/// behind a load balancer to be drained.
const STREAM_SECONDS: u64 = 600;

/// Five days, as Svix has them: longer than any weekend.
const WEBHOOK_PATIENCE_SECONDS: u64 = 432_000;

/// A quarter: whoever wants it longer does not want it at all.
const MOST_WEBHOOK_PATIENCE_SECONDS: u64 = 7_776_000;

/// A hundred a second: replies that are streamed token by token.
const AGENT_CALLS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(6_000).expect("not zero");

/// What S3 takes in one PUT (its user guide, "Amazon S3 multipart upload limits").
const FILE_BYTES: u64 = 5 << 30;
const COMPANY_FILE_BYTES: u64 = 50 << 30;
const SESSION_FILE_BYTES: u64 = 5 << 30;

/// What either may be: a second, for tests, to a day.
const DAY_SECONDS: u64 = 86_400;

/// The flags that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:3001]
    #[arg(long, env = "AIYBIZ_LISTEN", global = true)]
    pub listen: Option<SocketAddr>,
    /// Folder for everything that is kept on this machine [default: ./data]
    #[arg(long, env = "AIYBIZ_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// sqlite:PATH or postgres://… [default: SQLite in the data folder]
    #[arg(long, env = "AIYBIZ_DATABASE_URL", global = true)]
    pub database_url: Option<String>,
    /// Where files and uploads are kept: file:PATH, s3://BUCKET?endpoint=URL&region=NAME,
    /// gs://BUCKET or az://CONTAINER?endpoint=URL [default: in the data folder]
    #[arg(long, env = "AIYBIZ_STORAGE_URL", global = true)]
    pub storage_url: Option<String>,
    /// The key id for the bucket, at Azure the account [default: what the provider's own
    /// tools use: environment, role]
    #[arg(long, env = "AIYBIZ_STORAGE_KEY_ID", requires = "storage_secret", global = true)]
    pub storage_key_id: Option<String>,
    /// The secret that goes with it
    #[arg(long, env = "AIYBIZ_STORAGE_SECRET", hide_env_values = true, global = true)]
    pub storage_secret: Option<String>,
    /// Pass files' bytes through this host although the store could sign links for them:
    /// then what is taken back is taken back at once
    #[arg(long, env = "AIYBIZ_PROXY_FILES", global = true)]
    pub proxy_files: bool,
    /// A network that webhooks and components may reach although it is not public,
    /// also by plain http; may be repeated
    #[arg(long, env = "AIYBIZ_WEBHOOK_ALLOW", value_delimiter = ',', global = true)]
    pub webhook_allow: Option<Vec<IpNet>>,
    /// A name server to ask where webhooks and components lead, instead of the system's
    #[arg(long, env = "AIYBIZ_DNS_SERVER", global = true)]
    pub dns_server: Option<SocketAddr>,
    /// Threads on which components' events begin; long ones go on on others, one fewer
    /// [default: one per processor]
    #[arg(long, env = "AIYBIZ_GUEST_THREADS", global = true)]
    pub guest_threads: Option<usize>,
    /// Days that receipts and logs of events are kept [default: 30]
    #[arg(long, env = "AIYBIZ_RECEIPT_DAYS", global = true)]
    pub receipt_days: Option<u64>,
    /// Receipts kept of one agent, with their logs; the oldest go first [default: 100000]
    #[arg(long, env = "AIYBIZ_RECEIPTS_PER_AGENT", global = true)]
    pub receipts_per_agent: Option<u64>,
    /// Seconds that an agent has to become ready for a session [default: 600]
    #[arg(long, env = "AIYBIZ_PROVISIONING_SECONDS", global = true)]
    pub provisioning_seconds: Option<u64>,
    /// Seconds without a sign of an agent that had a socket and closed it, after which
    /// its session ends [default: 300]
    #[arg(long, env = "AIYBIZ_STALE_SECONDS", global = true)]
    pub stale_seconds: Option<u64>,
    /// Seconds after which an event stream is closed, give or take a tenth; its client
    /// comes back by itself and misses nothing [default: 600]
    #[arg(long, env = "AIYBIZ_STREAM_SECONDS", global = true)]
    pub stream_seconds: Option<u64>,
    /// Seconds that a webhook may fail without a single success before it is disabled
    /// and its events are held [default: 432000, five days]
    #[arg(long, env = "AIYBIZ_WEBHOOK_PATIENCE_SECONDS", global = true)]
    pub webhook_patience_seconds: Option<u64>,
    /// Calls that one session's agent may make in a minute, a sixth of them at once
    /// [default: 6000]
    #[arg(long, env = "AIYBIZ_AGENT_CALLS_PER_MINUTE", global = true)]
    pub agent_calls_per_minute: Option<NonZeroU32>,
    /// Bytes of one file in a library [default: 5368709120]
    #[arg(long, env = "AIYBIZ_FILE_BYTES", global = true)]
    pub file_bytes: Option<u64>,
    /// Bytes of all files of a company, those in its trash included
    /// [default: 53687091200]
    #[arg(long, env = "AIYBIZ_COMPANY_FILE_BYTES", global = true)]
    pub company_file_bytes: Option<u64>,
    /// Bytes of the files in one session's folders [default: 5368709120]
    #[arg(long, env = "AIYBIZ_SESSION_FILE_BYTES", global = true)]
    pub session_file_bytes: Option<u64>,
    /// What links to files begin with, such as `https://files.example.com`: an origin of
    /// its own, so that what users upload shares nothing with the API [default: the
    /// address by which the caller knows this host]
    #[arg(long, env = "AIYBIZ_FILES_URL", global = true)]
    pub files_url: Option<String>,
    #[command(flatten)]
    pub payments: money::Given,
    #[command(flatten)]
    pub mail: mail::Given,
    #[command(flatten)]
    pub web: web::Given,
    /// With which `POST /internal/check-sessions` is called [default: made once, kept in the
    /// data folder]
    #[arg(long, env = "AIYBIZ_INTERNAL_SECRET", hide_env_values = true, global = true)]
    pub internal_secret: Option<String>,
    /// A TOML file with these settings and the sandbox's limits
    #[arg(long, env = "AIYBIZ_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// 64 hexadecimal digits from which tokens and encryption keys are derived
    /// [default: made once, kept in the data folder]
    #[arg(long, env = "AIYBIZ_SECRET_KEY", hide_env_values = true, global = true)]
    pub secret_key: Option<String>,
    /// Keys that were the secret key before, until `reseal` has made them
    /// superfluous
    #[arg(
        long,
        env = "AIYBIZ_PREVIOUS_SECRET_KEYS",
        hide_env_values = true,
        value_delimiter = ',',
        global = true
    )]
    pub previous_secret_keys: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Toml {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    database_url: Option<String>,
    storage_url: Option<String>,
    storage_key_id: Option<String>,
    storage_secret: Option<String>,
    proxy_files: bool,
    webhook_allow: Option<Vec<IpNet>>,
    dns_server: Option<SocketAddr>,
    guest_threads: Option<usize>,
    receipt_days: Option<u64>,
    receipts_per_agent: Option<u64>,
    provisioning_seconds: Option<u64>,
    stale_seconds: Option<u64>,
    stream_seconds: Option<u64>,
    webhook_patience_seconds: Option<u64>,
    agent_calls_per_minute: Option<NonZeroU32>,
    file_bytes: Option<u64>,
    company_file_bytes: Option<u64>,
    session_file_bytes: Option<u64>,
    files_url: Option<String>,
    internal_secret: Option<String>,
    secret_key: Option<String>,
    previous_secret_keys: Option<Vec<String>>,
    payments: money::Given,
    mail: mail::Given,
    web: web::Given,
    pool: Pool,
    limits: Limits,
}

/// The settings as they are in force.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub database_url: String,
    pub storage_url: String,
    #[serde(skip)]
    pub storage_keys: Option<(String, String)>,
    pub proxy_files: bool,
    pub webhook_allow: Vec<IpNet>,
    pub dns_server: Option<SocketAddr>,
    /// On which events begin (`sandbox/threads.rs`).
    pub guest_threads: usize,
    pub receipt_days: u64,
    pub receipts_per_agent: u64,
    /// How much of each may be in a library.
    #[serde(flatten)]
    pub quota: Quota,
    pub files_url: Option<String>,
    pub provisioning_seconds: u64,
    pub stale_seconds: u64,
    pub stream_seconds: u64,
    pub webhook_patience_seconds: u64,
    pub agent_calls_per_minute: NonZeroU32,
    #[serde(rename = "payments")]
    pub money: Money,
    pub mail: Mail,
    pub web: Web,
    pub pool: Pool,
    pub limits: Limits,
    #[serde(skip)]
    pub internal_secret: Option<String>,
    #[serde(skip)]
    pub secret_key: Option<[u8; 32]>,
    #[serde(skip)]
    pub previous_secret_keys: Vec<[u8; 32]>,
}

impl Config {
    pub fn load(flags: Flags) -> Result<Self> {
        let file = match &flags.config {
            None => Toml::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("config file {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("config file {}", path.display()))?
            }
        };
        let quota = quota(&flags, &file);
        let data_dir = flags.data_dir.or(file.data_dir).unwrap_or_else(|| "data".into());
        let database_url = flags.database_url.or(file.database_url);
        let database_url =
            database_url.unwrap_or_else(|| format!("sqlite:{}/aiybiz.db", data_dir.display()));
        if !["sqlite:", "postgres:", "postgresql:"].iter().any(|s| database_url.starts_with(s)) {
            bail!("--database-url must begin with sqlite: or postgres://");
        }
        let storage_url = flags.storage_url.or(file.storage_url);
        let storage_url =
            storage_url.unwrap_or_else(|| format!("file:{}/objects", data_dir.display()));
        Place::parse(&storage_url)?;
        if !(1..=MOST_INSTANCES).contains(&file.pool.instances) {
            bail!("pool: instances must be between 1 and {MOST_INSTANCES}");
        }
        if !(1 << 20..=MOST_MEMORY).contains(&file.pool.memory_bytes) {
            bail!("pool: memoryBytes must be between 1 MiB and {MOST_MEMORY}");
        }
        file.limits.check(&file.pool).map_err(|why| anyhow::anyhow!("limits: {why}"))?;
        let threads = flags.guest_threads.or(file.guest_threads);
        let receipt_days = flags.receipt_days.or(file.receipt_days).unwrap_or(RECEIPT_DAYS);
        let receipts = flags.receipts_per_agent.or(file.receipts_per_agent);
        let receipts_per_agent = receipts.unwrap_or(RECEIPTS_PER_AGENT);
        if !(1..=MOST_RECEIPT_DAYS).contains(&receipt_days) {
            bail!("receiptDays must be between 1 and {MOST_RECEIPT_DAYS}");
        }
        if !(1..=MOST_RECEIPTS_PER_AGENT).contains(&receipts_per_agent) {
            bail!("receiptsPerAgent must be between 1 and {MOST_RECEIPTS_PER_AGENT}");
        }
        let provisioning = flags.provisioning_seconds.or(file.provisioning_seconds);
        let stale = flags.stale_seconds.or(file.stale_seconds);
        let stream = flags.stream_seconds.or(file.stream_seconds);
        for (name, given) in [
            ("provisioningSeconds", provisioning),
            ("staleSeconds", stale),
            ("streamSeconds", stream),
        ] {
            if given.is_some_and(|given| !(1..=DAY_SECONDS).contains(&given)) {
                bail!("{name} must be between 1 and {DAY_SECONDS}");
            }
        }
        let patience = flags.webhook_patience_seconds.or(file.webhook_patience_seconds);
        let webhook_patience_seconds = patience.unwrap_or(WEBHOOK_PATIENCE_SECONDS);
        if !(1..=MOST_WEBHOOK_PATIENCE_SECONDS).contains(&webhook_patience_seconds) {
            bail!("webhookPatienceSeconds must be between 1 and {MOST_WEBHOOK_PATIENCE_SECONDS}");
        }
        let internal_secret = flags.internal_secret.or(file.internal_secret);
        if internal_secret.as_ref().is_some_and(|secret| secret.len() < 16) {
            bail!("internalSecret must have 16 characters or more");
        }
        let files_url = flags.files_url.or(file.files_url);
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let secret_key = flags.secret_key.or(file.secret_key);
        let previous = flags.previous_secret_keys.or(file.previous_secret_keys).unwrap_or_default();
        Ok(Self {
            listen: flags.listen.or(file.listen).unwrap_or(([127, 0, 0, 1], 3001).into()),
            database_url,
            storage_url,
            storage_keys: flags
                .storage_key_id
                .or(file.storage_key_id)
                .zip(flags.storage_secret.or(file.storage_secret)),
            proxy_files: flags.proxy_files || file.proxy_files,
            webhook_allow: flags.webhook_allow.or(file.webhook_allow).unwrap_or_default(),
            dns_server: flags.dns_server.or(file.dns_server),
            guest_threads: threads.unwrap_or(processors).max(1),
            receipt_days,
            receipts_per_agent,
            provisioning_seconds: provisioning.unwrap_or(PROVISIONING_SECONDS),
            stale_seconds: stale.unwrap_or(STALE_SECONDS),
            stream_seconds: stream.unwrap_or(STREAM_SECONDS),
            webhook_patience_seconds,
            agent_calls_per_minute: flags
                .agent_calls_per_minute
                .or(file.agent_calls_per_minute)
                .unwrap_or(AGENT_CALLS_PER_MINUTE),
            quota,
            files_url: files_url.map(|url| origin("filesUrl", &url)).transpose()?,
            money: Money::of(flags.payments, file.payments)?,
            mail: Mail::of(flags.mail, file.mail)?,
            web: Web::of(flags.web, file.web)?,
            internal_secret,
            pool: file.pool,
            limits: file.limits,
            secret_key: secret_key.map(|text| parse_key(&text)).transpose()?,
            previous_secret_keys: previous
                .iter()
                .map(|key| parse_key(key))
                .collect::<Result<_>>()?,
            data_dir,
        })
    }

    /// Where objects are kept.
    pub fn storage(&self) -> Result<Place> {
        let mut place = Place::parse(&self.storage_url)?;
        if let Place::Bucket(bucket) = &mut place {
            bucket.keys.clone_from(&self.storage_keys);
        }
        Ok(place)
    }

    /// The platform's key, with those before it.
    pub fn key(&self, clock: &Clock) -> Result<Key> {
        Ok(Key::new(self.secret(clock.random())?, &self.previous_secret_keys))
    }

    /// The platform's secret: the one given, or the one in the data folder, made
    /// now if there is none. `fresh` is only used then.
    pub fn secret(&self, fresh: [u8; 32]) -> Result<[u8; 32]> {
        if let Some(given) = self.secret_key {
            return Ok(given);
        }
        self.kept("secret.key", fresh)
    }

    /// What a scheduler of the operator's shows to be let in: the secret given, or the one in
    /// the data folder.
    pub fn internal(&self, fresh: [u8; 32]) -> Result<String> {
        match &self.internal_secret {
            Some(given) => Ok(given.clone()),
            None => Ok(crate::seal::hex(&self.kept("internal.secret", fresh)?)),
        }
    }

    /// What is in this file of the data folder, made now if there is none.
    fn kept(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        let path = self.data_dir.join(name);
        if let Some(kept) = read_key(&path)? {
            return Ok(kept);
        }
        std::fs::create_dir_all(&self.data_dir)
            .with_context(|| format!("data folder {}", self.data_dir.display()))?;
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match made {
            Ok(mut file) => {
                file.write_all(crate::seal::hex(&fresh).as_bytes())?;
                file.sync_all()?;
                Ok(fresh)
            }
            // Another process was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                read_key(&path)?.context("the key file is being written")
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }
}

fn quota(flags: &Flags, file: &Toml) -> Quota {
    let bytes = |flag: Option<u64>, file: Option<u64>, default| flag.or(file).unwrap_or(default);
    Quota {
        file: bytes(flags.file_bytes, file.file_bytes, FILE_BYTES),
        company: bytes(flags.company_file_bytes, file.company_file_bytes, COMPANY_FILE_BYTES),
        session: bytes(flags.session_file_bytes, file.session_file_bytes, SESSION_FILE_BYTES),
    }
}

/// Like the settings, without what nobody should read over a shoulder.
impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = self.clone();
        let hide = |url: &mut url::Url| {
            let hidden = url.password().is_some() && url.set_password(Some("…")).is_ok();
            hidden.then(|| url.to_string())
        };
        if let Ok(mut url) = url::Url::parse(&shown.database_url)
            && let Some(hidden) = hide(&mut url)
        {
            shown.database_url = hidden;
        }
        shown.web.otlp_url.as_mut().map(hide);
        f.write_str(&toml::to_string(&shown).map_err(|_| std::fmt::Error)?)
    }
}

fn read_key(path: &Path) -> Result<Option<[u8; 32]>> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse_key(text.trim()).map(Some).with_context(|| path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// A scheme and a host, and nothing behind them.
fn origin(name: &str, text: &str) -> Result<String> {
    let url = url::Url::parse(text).with_context(|| format!("{name}: {text}"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !bare || !url.username().is_empty() {
        bail!("{name} must be http:// or https:// and a host, with nothing behind it");
    }
    Ok(url.origin().ascii_serialization())
}

fn parse_key(text: &str) -> Result<[u8; 32]> {
    let mut key = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        bail!("a secret key must have 64 hexadecimal digits");
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair)?, 16)?;
    }
    Ok(key)
}
