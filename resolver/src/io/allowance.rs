//! What one question may make this house ask others, carried along with the task that answers it: whoever is about to ask somebody else says
//! so here first, and whoever waits for them says that too. The sources of records and of what upstream resolvers say are shared by all who ask, and know none of them.

use crate::dns::accounts::Accounts;
use crate::dns::latency::Found;
use crate::dns::shares::{Share, Shares};
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

/// For whom others are asked.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// What networks have had of late.
    pub searches: Arc<Accounts>,
    /// What they have under way.
    pub shares: Arc<Shares>,
    /// Who asks.
    pub client: IpAddr,
    /// Whether that is proved. Who forges an address takes nothing from who has it.
    pub is_proved: bool,
    /// The time.
    pub now_millis: u64,
}

/// That somebody else may be asked. Held until they have answered: so long it counts as under way.
#[derive(Debug)]
pub struct Grant {
    _share: Option<Share>,
}

/// What is known of the answer under way.
#[derive(Debug)]
struct Answering {
    allowance: Option<Allowance>,
    found: Cell<Found>,
    turned_away: Cell<bool>,
}

tokio::task_local! {
    static ANSWERING: Answering;
}

/// Answers within `allowance`; `None`: without limit. Says for whom was waited, too.
pub(crate) async fn within<T>(allowance: Option<Allowance>, answering: impl Future<Output = T>) -> (T, Found) {
    let known = Answering {
        allowance,
        found: Cell::default(),
        turned_away: Cell::default(),
    };
    let noted = async {
        let answer = answering.await;
        (answer, ANSWERING.with(|known| known.found.get()))
    };
    ANSWERING.scope(known, noted).await
}

/// Notes that the answer under way now waits for others. Where none is, nothing.
pub fn waits_for(others: Found) {
    // An error means that nobody is being answered.
    let _nobody = ANSWERING.try_with(|known| known.found.set(known.found.get().max(others)));
}

/// Whether somebody else may be asked for who is being answered, where there is room for `left` more. Where nobody is, as long as there is any. Only to be asked in the task that answers: another knows of no limit.
pub fn may_ask(left: usize) -> Option<Grant> {
    let unlimited = || (left > 0).then_some(Grant { _share: None });
    let take = |known: &Answering| match &known.allowance {
        Some(allowance) => allowance.take(left),
        None => unlimited(),
    };
    ANSWERING.try_with(take).unwrap_or_else(|_| unlimited())
}

/// Notes that somebody was not asked for the answer under way, because too many are.
pub fn turned_away() {
    // An error means that nobody is being answered.
    let _nobody = ANSWERING.try_with(|known| known.turned_away.set(true));
}

/// Whether that was so: what was not found may be there.
pub(crate) fn was_turned_away() -> bool {
    ANSWERING.try_with(|known| known.turned_away.get()).unwrap_or(false)
}

impl Allowance {
    fn take(&self, left: usize) -> Option<Grant> {
        let kind = u8::from(self.is_proved);
        let Some(share) = self.shares.take(self.client, kind, left) else {
            self.searches.refuse();
            return None;
        };
        let may = self.searches.take(self.client, kind, self.now_millis);
        may.then_some(Grant { _share: Some(share) })
    }
}
