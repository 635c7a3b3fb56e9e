//! What can go wrong, in the product's words.
//!
//! An [`Error`] has a text for the caller and, apart from it, a cause for the
//! operator's log. It knows nothing of HTTP: `api::problem` turns a [`Kind`]
//! into a status.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is malformed; sending it again changes nothing.
    Invalid,
    /// Nobody is signed in, or the token is not (or no longer) good.
    Unauthenticated,
    /// It came too slowly.
    Slow,
    /// It costs more than there is.
    Payment,
    /// Known, but not allowed to do this.
    Forbidden,
    /// There is no such thing, or it is somebody else's.
    NotFound,
    /// The thing is in a state in which this cannot be done.
    Conflict,
    /// More bytes than the limit.
    TooLarge,
    /// There is such a thing, and this cannot be done with it.
    Method,
    /// Another media type is expected.
    Unsupported,
    /// Well formed, understood, and refused.
    Refused,
    /// Too often; may be tried again after this many seconds.
    TooMany(u32),
    /// It was there, and never will be again.
    Gone,
    /// The file has no such part.
    Range,
    /// Somebody else is at it; it may be tried again.
    Locked,
    /// The caller supposes what is not so.
    Precondition,
    /// What came is not what was sent: 460, as tus has it.
    Damaged,
    /// What the platform itself needs is away; may be tried again after this many seconds.
    Unavailable(u32),
    /// A fault of the platform.
    Internal,
}

/// One field of the request and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, serde::Deserialize)]
#[schema(as = FieldProblem)]
pub struct Problem {
    /// JSON pointer into the request body, such as `/content`; or the name of
    /// what else was wrong, such as an import of an uploaded component.
    pub pointer: String,
    pub detail: String,
}

#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    /// Stable, for programs: `session_ended`.
    pub code: &'static str,
    /// For people; names the field and the numbers.
    pub detail: String,
    pub problems: Vec<Problem>,
    /// For the operator's log, never for the caller.
    pub cause: Option<anyhow::Error>,
}

impl Error {
    pub fn new(kind: Kind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into(), problems: Vec::new(), cause: None }
    }

    /// One bad field of a request body.
    pub fn field(pointer: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let place = if pointer.is_empty() { "the body" } else { pointer };
        let mut error = Self::new(Kind::Invalid, "invalid_field", format!("{place}: {detail}"));
        error.problems.push(Problem { pointer: pointer.to_owned(), detail });
        error
    }

    pub fn not_found(what: &'static str) -> Self {
        Self::new(Kind::NotFound, "not_found", format!("no such {what}"))
    }

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, code, detail)
    }

    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(Kind::Unauthenticated, "unauthenticated", detail)
    }

    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, code, detail)
    }

    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        let mut error = Self::new(Kind::Internal, "internal", "something went wrong on our side");
        error.cause = Some(cause.into());
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => write!(f, "{}: {cause:#}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl std::error::Error for Error {}

impl From<object_store::Error> for Error {
    fn from(cause: object_store::Error) -> Self {
        Self::internal(anyhow::Error::new(cause).context("object store"))
    }
}

impl From<std::io::Error> for Error {
    fn from(cause: std::io::Error) -> Self {
        Self::internal(cause)
    }
}
