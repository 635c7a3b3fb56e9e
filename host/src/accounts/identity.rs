//! The user behind a token, what he is, and what the token is good for.

use super::{
    keys::{self, Scope},
    sign_ins,
};
use crate::{
    clock::Clock,
    error::Result,
    id::{ApiKeyId, BuilderId, CompanyId, MemberId, SignInId, UserId},
    seal,
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use std::time::Duration;
use uuid::Uuid;

/// How exactly it is known when a token was last used: a write for every request would
/// cost more than the request.
const SEEN: Duration = Duration::from_mins(10);

#[derive(Clone, Debug)]
pub struct Identity {
    pub user_id: UserId,
    pub company_id: CompanyId,
    pub member_id: MemberId,
    pub role: String,
    pub operator: bool,
    pub builder_id: Option<BuilderId>,
    /// An operator lets the company look and not act.
    pub suspended: bool,
    pub via: Via,
    /// It should be written down that the token was used.
    pub unseen: bool,
}

/// How he has shown who he is.
#[derive(Clone, Debug)]
pub enum Via {
    SignIn(SignInId),
    Key(ApiKeyId, Vec<Scope>),
}

#[derive(sqlx::FromRow)]
struct Person {
    user_id: UserId,
    company_id: CompanyId,
    member_id: MemberId,
    role: String,
    operator: bool,
    builder_id: Option<BuilderId>,
    suspended_at: Option<Timestamp>,
    seen_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct BySignIn {
    #[sqlx(flatten)]
    person: Person,
    id: SignInId,
}

#[derive(sqlx::FromRow)]
struct ByKey {
    #[sqlx(flatten)]
    person: Person,
    id: ApiKeyId,
    scopes: Json<Vec<Scope>>,
}

impl Via {
    pub fn id(&self) -> Uuid {
        match self {
            Self::SignIn(id) => id.0,
            Self::Key(id, _) => id.0,
        }
    }
}

impl Identity {
    pub fn is_admin(&self) -> bool {
        self.role == "admin"
    }

    /// None: it is by a key.
    pub fn sign_in(&self) -> Option<SignInId> {
        match self.via {
            Via::SignIn(id) => Some(id),
            Via::Key(..) => None,
        }
    }

    fn new(person: Person, via: Via, now: Timestamp) -> Self {
        Self {
            user_id: person.user_id,
            company_id: person.company_id,
            member_id: person.member_id,
            role: person.role,
            operator: person.operator,
            builder_id: person.builder_id,
            suspended: person.suspended_at.is_some(),
            via,
            unseen: person.seen_at.is_none_or(|seen| seen + SEEN <= now),
        }
    }
}

/// Whose token this is, unless it has expired or was revoked.
pub async fn identify(tx: &mut Tx, token: &str, now: Timestamp) -> Result<Option<Identity>> {
    if token.starts_with(keys::PREFIX) {
        let found = tx.query(
            "SELECT u.id AS user_id, m.company_id, m.id AS member_id, m.role, u.operator,
                    b.id AS builder_id, c.suspended_at, k.seen_at, k.id, k.scopes
             FROM api_keys k
             JOIN users u ON u.id = k.user_id
             JOIN members m ON m.user_id = u.id
             JOIN companies c ON c.id = m.company_id
             LEFT JOIN builders b ON b.user_id = u.id
             WHERE k.hash = $1 AND (k.expires_at IS NULL OR k.expires_at > $2)",
        );
        let found: Option<ByKey> = found.bind(seal::digest(token)).bind(now).optional().await?;
        return Ok(found.map(|row| Identity::new(row.person, Via::Key(row.id, row.scopes.0), now)));
    }
    if !token.starts_with(sign_ins::PREFIX) {
        return Ok(None);
    }
    let found = tx.query(
        "SELECT u.id AS user_id, m.company_id, m.id AS member_id, m.role, u.operator,
                b.id AS builder_id, c.suspended_at, s.seen_at, s.id
         FROM sign_ins s
         JOIN users u ON u.id = s.user_id
         JOIN members m ON m.user_id = u.id
         JOIN companies c ON c.id = m.company_id
         LEFT JOIN builders b ON b.user_id = u.id
         WHERE s.hash = $1 AND s.expires_at > $2",
    );
    let found: Option<BySignIn> = found.bind(seal::digest(token)).bind(now).optional().await?;
    Ok(found.map(|row| Identity::new(row.person, Via::SignIn(row.id), now)))
}

/// Writes down that the token was used.
pub async fn seen(tx: &mut Tx, clock: &Clock, via: &Via) -> Result<()> {
    let now = clock.now();
    match via {
        Via::SignIn(id) => {
            let sql = "UPDATE sign_ins SET seen_at = $2 WHERE id = $1";
            tx.query(sql).bind(*id).bind(now).run().await?;
        }
        Via::Key(id, _) => {
            let sql = "UPDATE api_keys SET seen_at = $2 WHERE id = $1";
            tx.query(sql).bind(*id).bind(now).run().await?;
        }
    }
    Ok(())
}

/// Is what somebody has shown of himself still good, and he still in the company?
pub async fn still(tx: &mut Tx, via: Uuid, company: CompanyId, now: Timestamp) -> Result<bool> {
    let sql = "SELECT 1 FROM members WHERE company_id = $2 AND user_id IN (
                   SELECT user_id FROM sign_ins WHERE id = $1 AND expires_at > $3
                   UNION ALL
                   SELECT user_id FROM api_keys
                   WHERE id = $1 AND (expires_at IS NULL OR expires_at > $3))";
    let found: Option<(i32,)> = tx.query(sql).bind(via).bind(company).bind(now).optional().await?;
    Ok(found.is_some())
}
