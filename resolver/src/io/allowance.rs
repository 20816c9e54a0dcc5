//! What one question may make this house ask others, carried along with the task that answers it: whoever is about to ask somebody else says
//! so here first, and whoever waits for them says that too. The sources of records and of what upstream resolvers say are shared by all who ask, and know none of them.

use crate::dns::accounts::Accounts;
use crate::dns::latency::Found;
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

/// For whom others are asked.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// What networks have had of late.
    pub searches: Arc<Accounts>,
    /// Who asks.
    pub client: IpAddr,
    /// Whether that is proved. Who forges an address takes nothing from who has it.
    pub is_proved: bool,
    /// The time.
    pub now_millis: u64,
}

tokio::task_local! {
    static ALLOWANCE: Option<Allowance>;
    static FOUND: Cell<Found>;
}

/// Answers within `allowance`; `None`: without limit. Says for whom was waited, too.
pub(crate) async fn within<T>(allowance: Option<Allowance>, answering: impl Future<Output = T>) -> (T, Found) {
    let noted = async {
        let answer = ALLOWANCE.scope(allowance, answering).await;
        (answer, FOUND.with(Cell::get))
    };
    FOUND.scope(Cell::default(), noted).await
}

/// Notes that the answer under way now waits for others. Where none is, nothing.
pub fn waits_for(others: Found) {
    // An error means that nobody is being answered.
    let _nobody = FOUND.try_with(|found| found.set(found.get().max(others)));
}

/// Whether somebody else may be asked for who is being answered. Where nobody is, always.
pub fn may_ask() -> bool {
    let take = |allowance: &Option<Allowance>| {
        let taken = |allowance: &Allowance| {
            let kind = u8::from(allowance.is_proved);
            allowance.searches.take(allowance.client, kind, allowance.now_millis)
        };
        allowance.as_ref().is_none_or(taken)
    };
    ALLOWANCE.try_with(take).unwrap_or(true)
}
