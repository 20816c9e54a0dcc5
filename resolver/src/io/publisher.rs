//! The publishing client: puts, gets and watches over the network, as [`publish`](crate::publish) says.

use crate::error::{HttpError, NotVisible, PutError};
use crate::io::discover;
use crate::io::http::{Answer, HttpClient};
use crate::io::transport::Server;
use crate::message::{Over, Reply};
use crate::publish::{
    Account, Acknowledged, PutIf, RECEIPT_MEDIA_TYPE, RECORD_MEDIA_TYPE, Visible, not_put, reaches, read_held, read_put, refusal, verified,
};
use crate::settings::{HTTP_TIMEOUT, INFO_TIMEOUT, PATIENCE_MAX, ProviderAt, VISIBLE_EVERY, VISIBLE_EVERY_MAX};
use crate::together::{self, Pending};
use bytes::Bytes;
use dialtone_shared::{Name, Rank, VerifiedRecord};
use hyper::Method;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// The publishing client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    http: HttpClient,
    accounts: Arc<[Known]>,
}

#[derive(Debug)]
struct Known {
    account: Account,
    /// The provider's own name, as far as it was asked.
    name: Mutex<Option<Name>>,
}

impl Known {
    /// A panic elsewhere leaves no half of a name behind.
    fn name(&self) -> MutexGuard<'_, Option<Name>> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    /// A client that puts at these providers.
    pub fn new(accounts: Vec<Account>) -> Self {
        let known = |account| Known {
            account,
            name: Mutex::new(None),
        };
        Self {
            http: HttpClient::new(),
            accounts: accounts.into_iter().map(known).collect(),
        }
    }

    /// Puts `record` at every provider at once. One outcome for each, in the order in which they were set.
    pub async fn put(&self, record: &VerifiedRecord, condition: PutIf) -> Vec<Result<Acknowledged, PutError>> {
        self.put_each(record, &vec![condition; self.accounts.len()]).await
    }

    /// As [`Publisher::put`], with a condition for each provider. Where the record came by itself in the meantime, from another provider,
    /// that is no reason to fail.
    pub async fn put_each(&self, record: &VerifiedRecord, conditions: &[PutIf]) -> Vec<Result<Acknowledged, PutError>> {
        let puts = self.accounts.iter().zip(conditions).map(|(known, condition)| {
            let put: Pending<'_, _> = Box::pin(async move {
                match self.put_at(known, record, *condition).await {
                    Err(PutError::ConditionFailed { held: Some(held), .. }) if held == *record.rank() => {
                        self.put_at(known, record, PutIf::Always).await
                    }
                    outcome => outcome,
                }
            });
            put
        });
        together::all(puts.collect()).await
    }

    /// Puts a record again at some of the providers, by number: what is held there already is renewed.
    pub async fn put_again(&self, record: &VerifiedRecord, at: &[usize]) -> Vec<(usize, Result<Acknowledged, PutError>)> {
        let puts = at.iter().filter_map(|at| Some((*at, self.accounts.get(*at)?))).map(|(at, known)| {
            let put: Pending<'_, _> = Box::pin(async move { (at, self.put_at(known, record, PutIf::Always).await) });
            put
        });
        together::all(puts.collect()).await
    }

    /// What each provider serves of `name`, verified, in the order in which they were set.
    pub async fn held_by_each(&self, name: &Name) -> Vec<Result<Option<VerifiedRecord>, PutError>> {
        let asks = self.accounts.iter().map(|known| {
            let ask: Pending<'_, _> = Box::pin(self.held_at(known, name));
            ask
        });
        together::all(asks.collect()).await
    }

    /// The highest-ranking record of `name` that any of the providers serves: what the next sequence must exceed. (One that has
    /// expired was signed in the past, so now exceeds it.) One provider that answers is enough; the others' troubles count only if all have some.
    ///
    /// # Errors
    /// [`PutError`]: nobody could say.
    pub async fn held(&self, name: &Name) -> Result<Option<VerifiedRecord>, PutError> {
        let (mut best, mut answered, mut trouble): (Option<VerifiedRecord>, bool, Option<PutError>) = (None, false, None);
        for held in self.held_by_each(name).await {
            match held {
                Ok(held) => {
                    answered = true;
                    if let Some(held) = held.filter(|held| best.as_ref().is_none_or(|best| held.outranks(best))) {
                        best = Some(held);
                    }
                }
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        match trouble {
            Some(error) if !answered => Err(error),
            _ => Ok(best),
        }
    }

    /// Watches until a record of `name` at `rank` or above is served by every one of `providers`, for at most `patience`.
    ///
    /// # Errors
    /// [`NotVisible`], naming where it is missing and what was said there last.
    pub async fn wait_until_visible(
        &self,
        name: &Name,
        rank: &Rank,
        providers: &[ProviderAt],
        patience: Duration,
    ) -> Result<Vec<Visible>, NotVisible> {
        self.wait_until_visible_at(providers.len(), name, rank, providers, patience).await
    }

    /// As [`Publisher::wait_until_visible`], until `enough` of `providers` serve it, whichever they are. Those that did, in the order of `providers`.
    ///
    /// # Errors
    /// [`NotVisible`].
    pub async fn wait_until_visible_at(
        &self,
        enough: usize,
        name: &Name,
        rank: &Rank,
        providers: &[ProviderAt],
        patience: Duration,
    ) -> Result<Vec<Visible>, NotVisible> {
        let began = Instant::now();
        let mut watches: Vec<(usize, Pending<'_, _>)> = Vec::with_capacity(providers.len());
        for (index, at) in providers.iter().enumerate() {
            watches.push((index, Box::pin(self.watch(at, name, rank, began, patience))));
        }
        let mut seen = Vec::with_capacity(providers.len());
        let (mut missing, mut reasons) = (Vec::new(), Vec::new());
        while seen.len() < enough && !watches.is_empty() {
            match together::next(&mut watches).await {
                (index, Ok(visible)) => seen.push((index, visible)),
                (index, Err(reason)) => {
                    missing.extend(providers.get(index).map(ProviderAt::to_string));
                    reasons.push(reason);
                }
            }
        }
        if seen.len() >= enough {
            seen.sort_unstable_by_key(|(index, _)| *index);
            return Ok(seen.into_iter().map(|(_, visible)| visible).collect());
        }
        reasons.dedup();
        Err(NotVisible {
            name: *name,
            missing,
            reason: reasons.join("; "),
        })
    }

    async fn put_at(&self, known: &Known, record: &VerifiedRecord, condition: PutIf) -> Result<Acknowledged, PutError> {
        let provider = &known.account.at;
        let ProviderAt::Http(base) = provider else {
            return Err(PutError::NoHttp(provider.to_string()));
        };
        let issuer = self.issuer(known, base).await?;
        let url = format!("{base}/v1/records/{}", record.name());
        let (authorization, etag);
        let mut headers = vec![("content-type", RECORD_MEDIA_TYPE), ("accept", RECEIPT_MEDIA_TYPE)];
        if let Some(token) = &known.account.token {
            authorization = format!("Bearer {token}");
            headers.push(("authorization", &authorization));
        }
        match condition {
            PutIf::Always => {}
            PutIf::Absent => headers.push(("if-none-match", "*")),
            PutIf::Held(rank) => {
                etag = format!("\"{rank}\"");
                headers.push(("if-match", &etag));
            }
        }
        let began = Instant::now();
        let answer = self
            .http
            .ask(Method::PUT, &url, &headers, record.bytes().clone(), HTTP_TIMEOUT)
            .await
            .map_err(|reason| not_put(provider, reason))?;
        let (promise, receipt) = read_put(provider, &answer, &issuer, record).inspect_err(|error| {
            // Another provider may have taken its place since it was asked: the next put asks again.
            if matches!(error, PutError::Receipt { .. }) {
                *known.name() = None;
            }
        })?;
        Ok(Acknowledged {
            provider: provider.clone(),
            promise,
            receipt,
            took: began.elapsed(),
        })
    }

    /// Who has to sign a provider's receipts.
    async fn issuer(&self, known: &Known, base: &str) -> Result<Name, PutError> {
        let asked = *known.name();
        if let Some(name) = asked {
            return Ok(name);
        }
        let info = self.http.info(base).await.map_err(|error| PutError::NotReached {
            provider: known.account.at.to_string(),
            reason: error.to_string(),
        })?;
        *known.name() = Some(info.name);
        Ok(info.name)
    }

    async fn held_at(&self, known: &Known, name: &Name) -> Result<Option<VerifiedRecord>, PutError> {
        let provider = &known.account.at;
        let ProviderAt::Http(base) = provider else {
            return Err(PutError::NoHttp(provider.to_string()));
        };
        let answer = self.get(base, name).await.map_err(|reason| not_put(provider, reason))?;
        read_held(&answer, name).map_err(|problem| refusal(provider, &answer, problem))
    }

    async fn get(&self, base: &str, name: &Name) -> Result<Answer, HttpError> {
        let url = format!("{base}/v1/records/{name}");
        self.http
            .ask(Method::GET, &url, &[("accept", RECORD_MEDIA_TYPE)], Bytes::new(), INFO_TIMEOUT)
            .await
    }

    /// Asks one provider again and again, more and more patiently.
    async fn watch(&self, at: &ProviderAt, name: &Name, rank: &Rank, began: Instant, patience: Duration) -> Result<Visible, String> {
        let mut pause = VISIBLE_EVERY;
        let mut said = "it was not asked".to_owned();
        // Found once; a provider that is not up yet is looked for again.
        let mut server = None;
        loop {
            let Some(left) = patience.checked_sub(began.elapsed()) else {
                return Err(said);
            };
            let asked = async {
                match at {
                    ProviderAt::Http(base) => {
                        let answer = self.get(base, name).await.map_err(|error| error.to_string())?;
                        read_held(&answer, name).map_err(|problem| format!("status {}: {problem}", answer.status))
                    }
                    ProviderAt::Dns { .. } => {
                        if server.is_none() {
                            let found = discover::find(&self.http, at, &[]).await;
                            server = found.servers.first().cloned();
                            if let Some(trouble) = found.trouble {
                                return Err(trouble.to_string());
                            }
                        }
                        match &server {
                            Some(server) => ask_dns(server, name).await,
                            None => Err("its host has no address".to_owned()),
                        }
                    }
                }
            };
            match timeout(left, asked).await {
                Ok(Ok(Some(held))) if reaches(held.rank(), rank) => {
                    return Ok(Visible {
                        provider: at.clone(),
                        after: began.elapsed(),
                    });
                }
                Ok(Ok(Some(_))) => said = "an older record is held".to_owned(),
                Ok(Ok(None)) => said = "no record is held".to_owned(),
                Ok(Err(reason)) => said = reason,
                Err(_) => return Err(said),
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(VISIBLE_EVERY_MAX);
        }
    }
}

async fn ask_dns(server: &Server, name: &Name) -> Result<Option<VerifiedRecord>, String> {
    let mut over = Over::Udp;
    loop {
        let reply = match timeout(PATIENCE_MAX, server.ask(&(*name).into(), over)).await {
            Ok(reply) => reply.map_err(|error| error.to_string())?,
            Err(_) => return Err("no answer in time".to_owned()),
        };
        match reply {
            Reply::Truncated if over == Over::Udp => over = Over::Tcp,
            Reply::Truncated => return Err("cut off over TCP".to_owned()),
            Reply::Absent { .. } => return Ok(None),
            Reply::No(reason) => return Err(reason),
            Reply::Record { envelope, .. } => return verified(envelope, name).map(Some),
        }
    }
}
