//! What an operator sets of the HTTP side: who stands in front of it, which other sites
//! may call it, how often one caller may.

use anyhow::{Result, bail};
use clap::Args;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, num::NonZeroU32};
use url::Url;

/// Contract §12.21.
const SIGN_UPS: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
const SIGN_INS: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const SIGN_INS_PER_ADDRESS: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
const MESSAGES: NonZeroU32 = NonZeroU32::new(120).expect("not zero");

/// Some pages in the browser of everybody in a company.
const STREAMS: u32 = 1_000;

/// Longer than any load balancer needs.
const MOST_LEAVING: u64 = 300;

/// Flags, and the file's table `[web]`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Given {
    /// Networks of proxies in front of this host, whose `X-Forwarded-For` is believed; may be
    /// repeated [default: none]
    #[arg(long, env = "AIYBIZ_TRUSTED_PROXIES", value_delimiter = ',', global = true)]
    pub trusted_proxies: Option<Vec<IpNet>>,
    /// Origins of other sites whose pages may call this host, such as
    /// `https://console.example.com`; may be repeated [default: none]
    #[arg(long, env = "AIYBIZ_ALLOWED_ORIGINS", value_delimiter = ',', global = true)]
    pub allowed_origins: Option<Vec<String>>,
    /// Address on which metrics are served openly [default: none; operators get them at
    /// /metrics]
    #[arg(long, env = "AIYBIZ_METRICS_LISTEN", global = true)]
    pub metrics_listen: Option<SocketAddr>,
    /// An OpenTelemetry collector that spans are sent to, by OTLP over HTTP, such as
    /// http://127.0.0.1:4318 [default: none]
    #[arg(long, env = "AIYBIZ_OTLP_URL", global = true)]
    pub otlp_url: Option<Url>,
    /// Sign-ups from one address in a minute [default: 20]
    #[arg(long, env = "AIYBIZ_SIGN_UPS_PER_MINUTE", global = true)]
    pub sign_ups_per_minute: Option<NonZeroU32>,
    /// Tries to sign in to one account in a minute [default: 10]
    #[arg(long, env = "AIYBIZ_SIGN_INS_PER_MINUTE", global = true)]
    pub sign_ins_per_minute: Option<NonZeroU32>,
    /// Tries to sign in from one address in a minute [default: 60]
    #[arg(long, env = "AIYBIZ_SIGN_INS_PER_ADDRESS_PER_MINUTE", global = true)]
    pub sign_ins_per_address_per_minute: Option<NonZeroU32>,
    /// Messages that clients may write into one session in a minute [default: 120]
    #[arg(long, env = "AIYBIZ_MESSAGES_PER_MINUTE", global = true)]
    pub messages_per_minute: Option<NonZeroU32>,
    /// Seconds between the signal to stop and the moment at which connections are refused, in
    /// which /readyz says 503 already: as long as a load balancer takes to look twice
    /// [default: 0]
    #[arg(long, env = "AIYBIZ_LEAVING_SECONDS", global = true)]
    pub leaving_seconds: Option<u64>,
    /// Event streams that one company may have open at this process [default: 1000]
    #[arg(long, env = "AIYBIZ_STREAMS_PER_COMPANY", global = true)]
    pub streams_per_company: Option<u32>,
}

/// The settings as they are in force.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Web {
    pub trusted_proxies: Vec<IpNet>,
    pub allowed_origins: Vec<String>,
    pub metrics_listen: Option<SocketAddr>,
    pub otlp_url: Option<Url>,
    pub sign_ups_per_minute: NonZeroU32,
    pub sign_ins_per_minute: NonZeroU32,
    pub sign_ins_per_address_per_minute: NonZeroU32,
    pub messages_per_minute: NonZeroU32,
    pub leaving_seconds: u64,
    pub streams_per_company: u32,
}

impl Web {
    pub(super) fn of(flags: Given, file: Given) -> Result<Self> {
        let origins = flags.allowed_origins.or(file.allowed_origins).unwrap_or_default();
        let origins = origins.iter().map(|url| super::origin("allowedOrigins", url));
        let of_one = flags.sign_ins_per_minute.or(file.sign_ins_per_minute);
        let from_one =
            flags.sign_ins_per_address_per_minute.or(file.sign_ins_per_address_per_minute);
        let streams = flags.streams_per_company.or(file.streams_per_company).unwrap_or(STREAMS);
        if streams == 0 {
            bail!("streamsPerCompany must be 1 or more");
        }
        let leaving = flags.leaving_seconds.or(file.leaving_seconds).unwrap_or(0);
        if leaving > MOST_LEAVING {
            bail!("leavingSeconds must be at most {MOST_LEAVING}");
        }
        Ok(Self {
            trusted_proxies: flags.trusted_proxies.or(file.trusted_proxies).unwrap_or_default(),
            allowed_origins: origins.collect::<Result<_>>()?,
            metrics_listen: flags.metrics_listen.or(file.metrics_listen),
            otlp_url: flags.otlp_url.or(file.otlp_url),
            sign_ups_per_minute: flags
                .sign_ups_per_minute
                .or(file.sign_ups_per_minute)
                .unwrap_or(SIGN_UPS),
            sign_ins_per_minute: of_one.unwrap_or(SIGN_INS),
            sign_ins_per_address_per_minute: from_one.unwrap_or(SIGN_INS_PER_ADDRESS),
            messages_per_minute: flags
                .messages_per_minute
                .or(file.messages_per_minute)
                .unwrap_or(MESSAGES),
            leaving_seconds: leaving,
            streams_per_company: streams,
        })
    }
}
