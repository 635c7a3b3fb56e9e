//! Is the ledger right? Each question is one statement whose rows are what is wrong.

use crate::{error::Result, storage::Tx};
use serde::Serialize;
use uuid::Uuid;

/// One question, and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = LedgerCheck)]
pub struct Check {
    /// What must be so.
    pub name: &'static str,
    pub ok: bool,
    /// What is wrong; empty when nothing is.
    pub detail: String,
}

/// Wrong things that are told; there may be more.
const TOLD: usize = 20;

/// What an account's entries come to, how many they are, and which number is the last.
macro_rules! sides {
    () => {
        "(SELECT to_account AS account, cents, to_number AS number FROM ledger_entries
          UNION ALL SELECT from_account, -cents, from_number FROM ledger_entries)"
    };
}

const CHECKS: [(&str, &str); 14] = [
    (
        "all accounts together are nothing",
        "SELECT 'together they are ' || CAST(SUM(balance) AS TEXT), CAST(NULL AS UUID)
         FROM ledger_accounts HAVING SUM(balance) <> 0",
    ),
    (
        "every posting moves something",
        "SELECT p.key, p.id FROM ledger_postings p
         WHERE NOT EXISTS (SELECT 1 FROM ledger_entries e WHERE e.posting_id = p.id)
         ORDER BY p.key LIMIT 21",
    ),
    (
        "every account has what its entries come to",
        concat!(
            "SELECT a.kind, a.id FROM ledger_accounts a
             LEFT JOIN (SELECT account, SUM(cents) AS cents, COUNT(*) AS entries FROM ",
            sides!(),
            " s GROUP BY account) j ON j.account = a.id
             WHERE a.balance <> COALESCE(j.cents, 0) OR a.entries <> COALESCE(j.entries, 0)
             ORDER BY 2 LIMIT 21"
        ),
    ),
    (
        "an account's entries are numbered without gaps",
        concat!(
            "SELECT 'account', account FROM ",
            sides!(),
            " s GROUP BY account
             HAVING COUNT(*) <> MAX(number) OR COUNT(DISTINCT number) <> COUNT(*) OR MIN(number) <> 1
             ORDER BY 2 LIMIT 21"
        ),
    ),
    (
        "nobody is below zero who may not be",
        "SELECT kind, id FROM ledger_accounts
         WHERE balance < 0 AND kind NOT IN ('provider', 'provider_fees', 'disputed')
         ORDER BY 2 LIMIT 21",
    ),
    (
        "what is held is held for sessions",
        "SELECT 'company', c.id FROM companies c
         LEFT JOIN ledger_accounts a ON a.kind = 'hold' AND a.owner = c.id
         LEFT JOIN (SELECT company_id, SUM(held_cents) AS cents FROM session_charges
                    GROUP BY company_id) s ON s.company_id = c.id
         WHERE COALESCE(a.balance, 0) <> COALESCE(s.cents, 0) ORDER BY 2 LIMIT 21",
    ),
    (
        "every session that is over is settled",
        "SELECT 'session', s.id FROM sessions s JOIN session_charges c ON c.session_id = s.id
         WHERE s.status = 'completed' ORDER BY 2 LIMIT 21",
    ),
    (
        "clients have what their transactions come to",
        "SELECT 'company', c.id FROM companies c
         LEFT JOIN (SELECT owner, SUM(balance) AS cents FROM ledger_accounts
                    WHERE kind IN ('wallet', 'hold') GROUP BY owner) a ON a.owner = c.id
         LEFT JOIN (SELECT company_id, SUM(amount_cents) AS cents FROM wallet_transactions
                    GROUP BY company_id) t ON t.company_id = c.id
         WHERE COALESCE(a.cents, 0) <> COALESCE(t.cents, 0) ORDER BY 2 LIMIT 21",
    ),
    (
        "clients have what is left of their payments",
        "SELECT 'company', c.id FROM companies c
         LEFT JOIN (SELECT owner, SUM(balance) AS cents FROM ledger_accounts
                    WHERE kind IN ('wallet', 'hold') GROUP BY owner) a ON a.owner = c.id
         LEFT JOIN (SELECT company_id, SUM(cents - used) AS cents FROM lots
                    GROUP BY company_id) l ON l.company_id = c.id
         WHERE COALESCE(a.cents, 0) <> COALESCE(l.cents, 0) ORDER BY 2 LIMIT 21",
    ),
    (
        "no charge pays builders more than came by it",
        "SELECT 'lot', l.id FROM lots l
         JOIN transfers t ON t.lot_id = l.id
         GROUP BY l.id, l.used HAVING SUM(t.cents) > l.used ORDER BY 2 LIMIT 21",
    ),
    (
        "every builder is owed what was not sent",
        "SELECT 'builder', b.id FROM builders b
         LEFT JOIN ledger_accounts p ON p.kind = 'payable' AND p.owner = b.id
         LEFT JOIN ledger_accounts f ON f.kind = 'in_flight' AND f.owner = b.id
         LEFT JOIN (SELECT builder_id,
                        SUM(CASE WHEN state IN ('waiting', 'parked') THEN cents
                                 ELSE reversed_cents END) AS payable,
                        SUM(CASE WHEN state IN ('claimed', 'unknown') THEN cents
                                 ELSE 0 END) AS flight
                    FROM transfers GROUP BY builder_id) t ON t.builder_id = b.id
         WHERE COALESCE(p.balance, 0) <> COALESCE(t.payable, 0)
            OR COALESCE(f.balance, 0) <> COALESCE(t.flight, 0) ORDER BY 2 LIMIT 21",
    ),
    (
        "every builder's part of an invoice is a transfer",
        "SELECT 'session', i.session_id FROM invoices i
         LEFT JOIN (SELECT session_id, SUM(cents) AS cents FROM transfers
                    GROUP BY session_id) t ON t.session_id = i.session_id
         WHERE i.builder_payout_cents <> COALESCE(t.cents, 0) ORDER BY 2 LIMIT 21",
    ),
    (
        "what is sent has the provider's name",
        "SELECT 'transfer', id FROM transfers
         WHERE (state = 'done') <> (provider_id IS NOT NULL) ORDER BY 2 LIMIT 21",
    ),
    (
        "what is on its way back to clients is refunds",
        "SELECT 'company', c.id FROM companies c
         LEFT JOIN ledger_accounts a ON a.kind = 'refunding' AND a.owner = c.id
         LEFT JOIN (SELECT company_id, SUM(cents) AS cents FROM refunds
                    WHERE state NOT IN ('done', 'failed') GROUP BY company_id) r
             ON r.company_id = c.id
         WHERE COALESCE(a.balance, 0) <> COALESCE(r.cents, 0) ORDER BY 2 LIMIT 21",
    ),
];

/// Asks them all, of one moment.
pub async fn check(tx: &mut Tx) -> Result<Vec<Check>> {
    let mut checks = Vec::with_capacity(CHECKS.len());
    for (name, sql) in CHECKS {
        let wrong: Vec<(String, Option<Uuid>)> = tx.query(sql).all().await?;
        let more = if wrong.len() > TOLD { ", …" } else { "" };
        let told = wrong.iter().take(TOLD).map(|(what, id)| match id {
            Some(id) => format!("{what} {id}"),
            None => what.clone(),
        });
        let detail = told.collect::<Vec<_>>().join(", ") + more;
        checks.push(Check { name, ok: wrong.is_empty(), detail });
    }
    Ok(checks)
}
