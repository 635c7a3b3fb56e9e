//! What a builder says of a template, and whether it can be said.

use crate::{
    api::input,
    catalog::Listing,
    error::{Error, Result},
    host::Host,
};
use serde::Deserialize;
use utoipa::ToSchema;

/// The highest price: $10 000 an hour, a typing error rather than an offer.
const MAX_PRICE_CENTS: i64 = 1_000_000;

/// Tags of one kind, and characters of one.
const TAGS: usize = 20;
const TAG_CHARS: usize = 50;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewTemplate {
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub(super) name: String,
    /// Not blank; may have several lines.
    #[schema(min_length = 1, max_length = 5000, pattern = r"\S")]
    pub(super) description: String,
    /// What stands behind it. It never changes.
    #[schema(pattern = "^(webhook|component)$")]
    pub(super) delivery: String,
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub(super) price_cents_per_hour: i64,
    #[schema(
        min_length = 1,
        max_length = 16,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub(super) logo_emoji: Option<String>,
    #[serde(default)]
    #[schema(
        max_items = 20,
        min_length = 1,
        max_length = 50,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub(super) themes: Vec<String>,
    #[serde(default)]
    #[schema(
        max_items = 20,
        min_length = 1,
        max_length = 50,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub(super) tools: Vec<String>,
    #[serde(default)]
    #[schema(
        max_items = 20,
        min_length = 1,
        max_length = 50,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub(super) capabilities: Vec<String>,
    /// How many sessions run with it at once; null for no bound.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub(super) max_sessions: Option<i64>,
    /// For a webhook agent: a public https address, without credentials and fragment.
    #[schema(
        max_length = 2048,
        pattern = "^https?://",
        examples("https://agents.example.com/hooks/writer")
    )]
    pub(super) webhook_url: Option<String>,
    /// Whether an event that failed is tried again. When it is left out: `standard` for a
    /// component, `none` for a webhook.
    #[schema(pattern = "^(none|standard)$")]
    pub(super) retry_policy: Option<String>,
    /// For a component agent: new sessions keep the version they begin with.
    #[serde(default)]
    pub(super) pin_sessions: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TemplateChange {
    #[serde(default, deserialize_with = "input::given")]
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub(super) name: Option<String>,
    /// Not blank; may have several lines.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, min_length = 1, max_length = 5000, pattern = r"\S")]
    pub(super) description: Option<String>,
    /// What is changed goes for sessions that begin later.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    pub(super) price_cents_per_hour: Option<i64>,
    #[serde(default, deserialize_with = "input::nullable")]
    #[schema(
        value_type = Option<String>,
        min_length = 1,
        max_length = 16,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub(super) logo_emoji: Option<Option<String>>,
    #[serde(default, deserialize_with = "input::given")]
    #[schema(
        nullable = false,
        max_items = 20,
        min_length = 1,
        max_length = 50,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub(super) themes: Option<Vec<String>>,
    #[serde(default, deserialize_with = "input::given")]
    #[schema(
        nullable = false,
        max_items = 20,
        min_length = 1,
        max_length = 50,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub(super) tools: Option<Vec<String>>,
    #[serde(default, deserialize_with = "input::given")]
    #[schema(
        nullable = false,
        max_items = 20,
        min_length = 1,
        max_length = 50,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub(super) capabilities: Option<Vec<String>>,
    /// How many sessions run with it at once; null for no bound.
    #[serde(default, deserialize_with = "input::nullable")]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000)]
    pub(super) max_sessions: Option<Option<i64>>,
    /// For a webhook agent: a public https address, without credentials and fragment.
    #[serde(default, deserialize_with = "input::nullable")]
    #[schema(
        value_type = Option<String>,
        max_length = 2048,
        pattern = "^https?://",
        examples("https://agents.example.com/hooks/writer")
    )]
    pub(super) webhook_url: Option<Option<String>>,
    /// Whether an event that failed is tried again.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, pattern = "^(none|standard)$")]
    pub(super) retry_policy: Option<String>,
    /// For a component agent: new sessions keep the version they begin with. Switching it
    /// off frees those that run: they follow the active version from their next event.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false)]
    pub(super) pin_sessions: Option<bool>,
}

/// Looks at every field of a listing.
pub(super) fn checked(host: &Host, mut listing: Listing) -> Result<Listing> {
    listing.name = input::text("/name", &listing.name, 1..=100)?;
    listing.description = input::text("/description", &listing.description, 1..=5_000)?;
    if let Some(emoji) = &listing.logo_emoji {
        listing.logo_emoji = Some(input::text("/logoEmoji", emoji, 1..=16)?);
    }
    tags("/themes", &mut listing.themes)?;
    tags("/tools", &mut listing.tools)?;
    tags("/capabilities", &mut listing.capabilities)?;
    if !(0..=MAX_PRICE_CENTS).contains(&listing.price_cents_per_hour) {
        return Err(Error::field("/priceCentsPerHour", format!("must be 0 to {MAX_PRICE_CENTS}")));
    }
    if listing.max_sessions.is_some_and(|most| !(1..=1_000_000).contains(&most)) {
        return Err(Error::field("/maxSessions", "must be 1 to 1000000, or null for no bound"));
    }
    if !["webhook", "component"].contains(&listing.delivery.as_str()) {
        return Err(Error::field("/delivery", "must be webhook or component"));
    }
    if !["none", "standard"].contains(&listing.retry_policy.as_str()) {
        return Err(Error::field("/retryPolicy", "must be none or standard"));
    }
    if listing.pin_sessions && listing.delivery == "webhook" {
        return Err(Error::field("/pinSessions", "is for component agents; this one is a webhook"));
    }
    if let Some(url) = &listing.webhook_url {
        if listing.delivery == "component" {
            return Err(Error::field(
                "/webhookUrl",
                "is for webhook agents; this one is a component",
            ));
        }
        listing.webhook_url = Some(host.guard.checked("/webhookUrl", url)?.to_string());
    }
    Ok(listing)
}

fn tags(pointer: &str, tags: &mut [String]) -> Result<()> {
    if tags.len() > TAGS {
        return Err(Error::field(pointer, format!("must have at most {TAGS} entries")));
    }
    for (index, tag) in tags.iter_mut().enumerate() {
        *tag = input::text(&format!("{pointer}/{index}"), tag, 1..=TAG_CHARS)?;
    }
    Ok(())
}
