//! What an API key is good for: the parts of the API, by the beginnings of their paths.

use crate::{
    accounts::keys::Scope,
    error::{Error, Result},
};

/// The scopes that let read, and that let change, what begins so. What is named nowhere is
/// for people who sign in.
const PARTS: [(&str, Scope, Scope); 13] = [
    ("/sessions", Scope::SessionsRead, Scope::SessionsWrite),
    ("/files", Scope::FilesRead, Scope::FilesWrite),
    ("/wallet", Scope::BillingRead, Scope::BillingWrite),
    ("/invoices", Scope::BillingRead, Scope::BillingWrite),
    ("/subscription", Scope::BillingRead, Scope::BillingWrite),
    ("/stripe/wallet", Scope::BillingRead, Scope::BillingWrite),
    ("/stripe/subscriptions", Scope::BillingRead, Scope::BillingWrite),
    ("/stripe/portal", Scope::BillingRead, Scope::BillingWrite),
    ("/company", Scope::CompanyRead, Scope::CompanyWrite),
    ("/builder", Scope::BuilderRead, Scope::BuilderWrite),
    ("/stripe/connect", Scope::BuilderRead, Scope::BuilderWrite),
    ("/admin", Scope::AdminRead, Scope::AdminWrite),
    ("/metrics", Scope::AdminRead, Scope::AdminWrite),
];

/// What any key may look at.
const ANY: [&str; 4] = ["/me", "/agents", "/plans", "/notifications"];

/// 403 when the key is not good for it.
pub(super) fn check(scopes: &[Scope], path: &str, changes: bool) -> Result<()> {
    let begins = |with: &&str| {
        path.strip_prefix(*with).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let part = PARTS.iter().find(|(with, ..)| begins(with));
    let Some((_, read, write)) = part else {
        if !changes && ANY.iter().any(begins) {
            return Ok(());
        }
        return Err(Error::forbidden("not_with_a_key", "sign in for this; a key cannot do it"));
    };
    let good = scopes.contains(write) || (!changes && scopes.contains(read));
    if good {
        return Ok(());
    }
    let needed = if changes { write } else { read };
    let needed = serde_json::to_value(needed).unwrap_or_default();
    let detail = format!("this key lacks the scope {}", needed.as_str().unwrap_or_default());
    Err(Error::forbidden("key_lacks_scope", detail))
}
