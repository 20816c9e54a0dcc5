//! `dialtone publish --keep`: stays, and keeps what was published alive, where it was published and as this machine moves.

use super::change::{Changed, Read, Stop, Writer};
use super::put::{PutArgs, accounts, kept_json, print_kept, warn_of_plain_token};
use crate::bindings;
use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::signals::Signals;
use crate::{failures, leases, output, show};
use dialtone_resolver::edit::{Edit, How, Removal, Says};
use dialtone_resolver::error::PutError;
use dialtone_resolver::io::clock;
use dialtone_resolver::io::locators::{Follower, Moved, Source};
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::keep::{self, Event, Keep, Outcome as Put, Seen, Step};
use dialtone_resolver::publish::Acknowledged;
use dialtone_resolver::update::{Update, UpdateError};
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::{Address, Binding};
use dialtone_shared::{UnixMicros, VerifiedRecord};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Publishes, and stays until it is told to go.
///
/// # Errors
/// What no waiting mends: the record is not what it must be, a provider refuses it for good, the key was rotated or revoked.
pub async fn keep(signer: &Signer, edit: Edit, follow: Vec<Source>, how: &PutArgs, client: &ClientArgs) -> Outcome {
    let mut signals = Signals::listen()?;
    let client = Client::load(client)?;
    warn_of_plain_token(&client);
    let publisher = Publisher::new(accounts(&client));
    let writer = Writer::new(signer, &publisher, &client, edit.how, how);
    let mut keeper = Keeper {
        signer,
        publisher: &publisher,
        writer,
        edit,
        followed: Vec::new(),
        machine: Keep::new(client.providers.value.len(), rand::random()),
        mine: None,
        asks: false,
        json: how.json,
    };
    // Nothing is said before it is known where this machine is.
    let mut knows = follow.is_empty();
    let (told, mut moves) = mpsc::channel(1);
    let mut follower = Follower::new(follow, bindings::address);
    // On its own: a command that takes its time is not begun again whenever something else happens.
    let following = async move {
        loop {
            let moved = follower.next().await;
            if told.send(moved).await.is_err() {
                return;
            }
        }
    };
    let _following = match knows {
        true => None,
        false => Some(tokio::spawn(following)),
    };
    output::remark(format!("keeping  {}; it stays until it is told to go", signer.name()));
    loop {
        // What is under way is given up when this machine moves: what it says is out of date, and a provider that hangs keeps nobody waiting.
        tokio::select! {
            signal = signals.told_to_go() => {
                output::remark(format!("{signal}: the record stays as it is, until it expires"));
                return Ok(());
            }
            Some(moved) = moves.recv() => match moved {
                Moved::To(addresses) => {
                    knows = true;
                    keeper.moved(addresses);
                }
                Moved::Lost(reason) => output::remark(format!("note: where this machine is is not known: {}", show::printable(&reason))),
            },
            done = keeper.step(), if knows => done?,
        }
    }
}

struct Keeper<'a> {
    signer: &'a Signer,
    publisher: &'a Publisher,
    writer: Writer<'a>,
    /// What is said beside the addresses that are followed.
    edit: Edit,
    /// The addresses that are followed, as they are now.
    followed: Vec<Address>,
    machine: Keep,
    /// What is published, as far as it is known.
    mine: Option<VerifiedRecord>,
    /// Whether something went wrong, so that what is held has to be asked for again.
    asks: bool,
    json: bool,
}

impl Keeper<'_> {
    fn moved(&mut self, addresses: Vec<Address>) {
        if self.edit.how == How::Add {
            // Beside what is held: what was added of an address that is gone goes with it.
            let is_gone = |old: &&Address| !addresses.iter().any(|new| new.ip == old.ip);
            let gone = self.followed.iter().filter(is_gone).map(|old| Removal::Address(old.ip));
            self.edit.remove.extend(gone);
        }
        self.followed = addresses;
        self.machine.handle(clock::now_micros(), &Event::Changed);
    }

    /// The next thing to do, or the wait for it.
    async fn step(&mut self) -> Outcome {
        match self.machine.poll(clock::now_micros()) {
            Step::Publish { insists } => self.publish(insists).await,
            Step::PutAgain(at) => self.put_again(&at).await,
            Step::Look => self.look().await,
            Step::WaitUntil(at) => {
                // In short steps: a machine that slept, or whose clock was set, looks again soon.
                let left = Duration::from_micros(at.0.saturating_sub(clock::now_micros().0));
                sleep(left.min(NAP)).await;
                Ok(())
            }
        }
    }

    async fn publish(&mut self, insists: bool) -> Outcome {
        let mut edit = self.edit.clone();
        edit.bindings.extend(self.followed.iter().cloned().map(Binding::Address));
        let update = Update::new(edit, self.signer.chain.len() as u32, insists);
        // Who has published knows what is held: no time is lost by asking, and the condition finds out if it is not so.
        let (update, reads) = match &self.mine {
            Some(mine) if !self.asks => {
                let reads = self.writer.at.iter().map(|_| Ok(Some(mine.clone()))).collect();
                (update.since(mine.clone()), reads)
            }
            Some(mine) => (update.since(mine.clone()), self.writer.read().await),
            None => (update, self.writer.read().await),
        };
        if reads.iter().all(|read: &Read| read.is_err()) {
            let reason = reads.into_iter().find_map(Result::err).map(failures::put);
            return self.failed(reason);
        }
        match self.writer.put_where_held(update, reads).await {
            Ok(done) => self.published(done),
            Err(Stop::Held(UpdateError::Conflict { what, held })) => {
                self.overruled(&what, &held);
                Ok(())
            }
            Err(Stop::Other(failure)) if waiting_may_mend(failure.exit) => self.failed(Some(failure)),
            Err(stop) => Err(stop.failure(self.signer)),
        }
    }

    fn published(&mut self, done: Changed) -> Outcome {
        let now = clock::now_micros();
        let kept: Vec<&Acknowledged> = done.puts.iter().filter_map(|put| put.as_ref().ok()).collect();
        let mut refused = None;
        for error in done.puts.iter().filter_map(|put| put.as_ref().err()) {
            let failure = failures::put(error.clone());
            output::remark(failure.to_string().trim_end());
            if matches!(error, PutError::Refused { .. } | PutError::NoHttp(_)) {
                refused = Some(failure);
            }
        }
        if !kept.is_empty() {
            leases::keep(done.state.as_deref(), &kept);
            match self.json {
                true => output::json(&kept_json(&done, &kept))?,
                false => print_kept(&done.record, &kept)?,
            }
            // What was to be taken away is gone.
            self.edit.remove.clear();
            self.mine = Some(done.record.clone());
        } else if let Some(failure) = refused {
            // Nobody takes it, and not for want of patience.
            return Err(failure);
        }
        self.asks = kept.is_empty();
        let expiry = done.record.record().expiry().unwrap_or(now.secs());
        let puts = done.puts.iter().map(|put| outcome(put, now)).collect();
        self.machine.handle(now, &Event::Published { expiry, puts });
        Ok(())
    }

    async fn put_again(&mut self, at: &[usize]) -> Outcome {
        let Some(mine) = self.mine.clone() else {
            return Ok(());
        };
        let puts = self.publisher.put_again(&mine, at).await;
        let now = clock::now_micros();
        for (_, put) in &puts {
            match put {
                Ok(kept) => output::remark(format!("put again at {}", kept.provider)),
                Err(error) => output::remark(failures::put(error.clone()).to_string().trim_end()),
            }
        }
        let kept: Vec<&Acknowledged> = puts.iter().filter_map(|(_, put)| put.as_ref().ok()).collect();
        leases::keep(self.writer.state.as_deref(), &kept);
        let puts = puts.iter().map(|(at, put)| (*at, outcome(put, now))).collect();
        self.machine.handle(now, &Event::PutAgain(puts));
        Ok(())
    }

    async fn look(&mut self) -> Outcome {
        let reads = self.publisher.held_by_each(&self.signer.name()).await;
        let now = clock::now_micros();
        let Some(mine) = self.mine.clone() else {
            self.machine.handle(now, &Event::Looked(Vec::new()));
            return Ok(());
        };
        let newest = reads
            .iter()
            .filter_map(|read| read.as_ref().ok()?.as_ref())
            .fold(None, |best: Option<&VerifiedRecord>, record| match best {
                Some(best) if !record.outranks(best) => Some(best),
                _ => Some(record),
            });
        if let Some(theirs) = newest.filter(|newest| newest.outranks(&mine)) {
            let theirs = theirs.clone();
            if theirs.rank().epoch > mine.rank().epoch {
                return Err(Stop::Held(UpdateError::LaterKey(Box::new(theirs))).failure(self.signer));
            }
            let (Some(was), Some(is)) = (Says::of(mine.record()), Says::of(theirs.record())) else {
                return Err(Stop::Held(UpdateError::Revoked(Box::new(theirs))).failure(self.signer));
            };
            let mut edit = self.edit.clone();
            edit.bindings.extend(self.followed.iter().cloned().map(Binding::Address));
            let what = edit.conflicts(&was, &is);
            if !what.is_empty() && !self.machine.rests() {
                self.overruled(&what, &theirs);
                return Ok(());
            }
            // What else somebody says is kept alive like our own.
            self.mine = Some(theirs);
        }
        let rank = self.mine.as_ref().map_or(*mine.rank(), |mine| *mine.rank());
        let seen = reads
            .iter()
            .map(|read| match read {
                Ok(held) => keep::seen(held.as_ref().map(VerifiedRecord::rank), &rank),
                Err(_) => Seen::Unknown,
            })
            .collect();
        self.machine.handle(now, &Event::Looked(seen));
        Ok(())
    }

    fn overruled(&mut self, what: &[String], theirs: &VerifiedRecord) {
        output::remark(format!(
            "note: somebody else changed {} (rank {}); it stays so until this machine moves",
            what.join(", "),
            theirs.rank()
        ));
        self.mine = Some(theirs.clone());
        self.machine.handle(clock::now_micros(), &Event::Overruled);
    }

    fn failed(&mut self, reason: Option<Failure>) -> Outcome {
        self.asks = true;
        if let Some(failure) = reason {
            output::remark(failure.to_string().trim_end());
            if !waiting_may_mend(failure.exit) {
                return Err(failure);
            }
        }
        self.machine.handle(clock::now_micros(), &Event::Failed);
        Ok(())
    }
}

fn outcome(put: &Result<Acknowledged, PutError>, now: UnixMicros) -> Put {
    match put {
        Ok(kept) => Put::Kept(kept.promise.keep_until.unwrap_or(now.secs().plus(LEASE_SECS_DEFAULT))),
        Err(_) => Put::Failed,
    }
}

/// Whether the same may go better later, without anybody doing anything about it here.
fn waiting_may_mend(exit: Exit) -> bool {
    match exit {
        Exit::Network | Exit::Busy | Exit::Unverified => true,
        Exit::Done | Exit::Bug | Exit::Usage | Exit::BadInput | Exit::Refused | Exit::Absent | Exit::Settings | Exit::Local => false,
    }
}

/// The longest sleep at once.
const NAP: Duration = Duration::from_secs(1);
/// How long a promise without an end is relied upon before it is renewed, in seconds.
const LEASE_SECS_DEFAULT: u64 = 86_400;
