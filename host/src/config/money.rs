//! What an operator sets of money: the provider, and what it may be asked for.

use anyhow::{Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

/// Contract §12.8: $1, which is twice what Stripe takes at least, to $10 000.
const TOPUP_LEAST_CENTS: i64 = 100;
const TOPUP_MOST_CENTS: i64 = 1_000_000;

/// Stripe's own limits: <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>.
const CHARGE_CENTS: std::ops::RangeInclusive<i64> = 50..=99_999_999;

/// A day: long enough to find another card.
const LAPSE_GRACE_SECONDS: u64 = 86_400;

/// A quarter: whoever wants it longer does not want it at all.
const MOST_LAPSE_GRACE_SECONDS: u64 = 7_776_000;

/// Flags, and the file's table `[payments]`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Given {
    /// Stripe's secret key, `sk_…` or `rk_…` [default: none, the built-in test gateway takes
    /// payments]
    #[arg(long, env = "STRIPE_SECRET_KEY", hide_env_values = true, global = true)]
    pub stripe_secret_key: Option<String>,
    /// Secrets with which Stripe signs what it tells, `whsec_…`; several while one is
    /// replaced, or for several endpoints
    #[arg(
        long,
        env = "STRIPE_WEBHOOK_SECRET",
        hide_env_values = true,
        value_delimiter = ',',
        global = true
    )]
    pub stripe_webhook_secret: Option<Vec<String>>,
    /// A server that speaks like Stripe's [default: Stripe's]
    #[arg(long, env = "STRIPE_API_BASE", global = true)]
    pub stripe_api_base: Option<String>,
    /// What browsers know this platform by, such as `https://agents.example.com`: where the
    /// payment provider sends them back to [default: the address by which the caller knows
    /// this host]
    #[arg(long, env = "AIYBIZ_PUBLIC_URL", global = true)]
    pub public_url: Option<String>,
    /// Cents of the smallest payment into a wallet [default: 100]
    #[arg(long, env = "AIYBIZ_TOPUP_LEAST_CENTS", global = true)]
    pub topup_least_cents: Option<i64>,
    /// Cents of the largest payment into a wallet [default: 1000000]
    #[arg(long, env = "AIYBIZ_TOPUP_MOST_CENTS", global = true)]
    pub topup_most_cents: Option<i64>,
    /// Cents that a session costs at least once it was active, but never more than its first
    /// hour [default: 0]
    #[arg(long, env = "AIYBIZ_SESSION_LEAST_CENTS", global = true)]
    pub session_least_cents: Option<i64>,
    /// Seconds after which the sessions of a company end whose subscription is not paid
    /// [default: 86400, a day]
    #[arg(long, env = "AIYBIZ_LAPSE_GRACE_SECONDS", global = true)]
    pub lapse_grace_seconds: Option<u64>,
}

/// The settings as they are in force.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Money {
    #[serde(skip)]
    pub stripe_secret_key: Option<String>,
    #[serde(skip)]
    pub stripe_webhook_secret: Vec<String>,
    pub stripe_api_base: Option<String>,
    pub public_url: Option<String>,
    pub topup_least_cents: i64,
    pub topup_most_cents: i64,
    pub session_least_cents: i64,
    pub lapse_grace_seconds: u64,
}

impl Money {
    pub(super) fn of(flags: Given, file: Given) -> Result<Self> {
        // A variable that is set to nothing is not set.
        let text = |flag: Option<String>, file: Option<String>| {
            flag.or(file).filter(|text| !text.trim().is_empty())
        };
        let secrets = flags.stripe_webhook_secret.or(file.stripe_webhook_secret);
        let money = Self {
            stripe_secret_key: text(flags.stripe_secret_key, file.stripe_secret_key),
            stripe_webhook_secret: secrets
                .into_iter()
                .flatten()
                .filter(|secret| !secret.trim().is_empty())
                .collect(),
            stripe_api_base: text(flags.stripe_api_base, file.stripe_api_base)
                .map(|url| super::origin("stripeApiBase", &url))
                .transpose()?,
            public_url: text(flags.public_url, file.public_url)
                .map(|url| super::origin("publicUrl", &url))
                .transpose()?,
            topup_least_cents: flags
                .topup_least_cents
                .or(file.topup_least_cents)
                .unwrap_or(TOPUP_LEAST_CENTS),
            topup_most_cents: flags
                .topup_most_cents
                .or(file.topup_most_cents)
                .unwrap_or(TOPUP_MOST_CENTS),
            session_least_cents: flags
                .session_least_cents
                .or(file.session_least_cents)
                .unwrap_or(0),
            lapse_grace_seconds: flags
                .lapse_grace_seconds
                .or(file.lapse_grace_seconds)
                .unwrap_or(LAPSE_GRACE_SECONDS),
        };
        money.check()?;
        Ok(money)
    }

    fn check(&self) -> Result<()> {
        let (least, most) = (CHARGE_CENTS.start(), CHARGE_CENTS.end());
        for (name, cents) in
            [("topupLeastCents", self.topup_least_cents), ("topupMostCents", self.topup_most_cents)]
        {
            if !CHARGE_CENTS.contains(&cents) {
                bail!("{name} must be between {least} and {most}");
            }
        }
        if self.topup_least_cents > self.topup_most_cents {
            bail!("topupLeastCents must not be more than topupMostCents");
        }
        if !(0..=*most).contains(&self.session_least_cents) {
            bail!("sessionLeastCents must be between 0 and {most}");
        }
        if !(1..=MOST_LAPSE_GRACE_SECONDS).contains(&self.lapse_grace_seconds) {
            bail!("lapseGraceSeconds must be between 1 and {MOST_LAPSE_GRACE_SECONDS}");
        }
        Ok(())
    }
}
