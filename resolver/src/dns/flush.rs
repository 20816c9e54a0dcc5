//! What an operator has a frontend forget, and what came of it.

use crate::dns::domain::Domain;
use dialtone_shared::Name;
use serde::{Deserialize, Serialize};

/// Which names.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    /// This one, or a flat name, which stands under the origin; `.`: the root.
    pub domain: String,
    /// And all below it.
    pub below: bool,
}

/// What was forgotten. Answers that are kept as they are sent are made anew, whichever they are: it costs less than finding out.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Flushed {
    /// The names, as they were understood.
    pub domain: String,
    /// The flat name they belong to, if they belong to one.
    pub name: Option<String>,
    /// Answers of upstream resolvers.
    pub upstream: usize,
    /// What was known of owners' links.
    pub links: usize,
}

impl Scope {
    /// The domain that is meant where names stand under `origin`.
    ///
    /// # Errors
    /// It is none; the operator's turn.
    pub fn domain(&self, origin: &Domain) -> Result<Domain, String> {
        if let Ok(name) = self.domain.parse::<Name>() {
            let domain = origin.child(name.to_string().as_bytes());
            return domain.ok_or_else(|| "there is no room for a name under the origin".to_owned());
        }
        if self.domain == "." {
            return Ok(Domain::root());
        }
        let domain = self.domain.strip_suffix('.').unwrap_or(&self.domain);
        Domain::from_text(domain)
            .map(|domain| domain.to_lower())
            .map_err(|error| error.to_string())
    }
}
