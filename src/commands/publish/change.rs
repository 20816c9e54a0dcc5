//! Changing what a name says: what is held is read and verified, edited, shown, and put only where it is still held.

use super::put::{self, PutArgs, accounts, print_record, report, warn_of_plain_token, write_signed};
use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::{failures, output, show};
use dialtone_resolver::edit::{Change, Edit, How, Says, difference};
use dialtone_resolver::error::PutError;
use dialtone_resolver::floor::{Standing, standing};
use dialtone_resolver::io::clock;
use dialtone_resolver::io::environment::state_folder;
use dialtone_resolver::io::floor_file::FloorKeeper;
use dialtone_resolver::publish::{Acknowledged, Publisher, PutIf};
use dialtone_resolver::settings::{FLOOR_NAMES_MAX, ProviderAt, VISIBLE_EVERY_MAX};
use dialtone_resolver::update::{Next, Plan, Update, UpdateError};
use dialtone_resolver::view;
use dialtone_shared::VerifiedRecord;
use dialtone_shared::receipt::Signer;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// What was done.
#[derive(Debug)]
pub struct Changed {
    /// What was signed.
    pub record: VerifiedRecord,
    /// How it differs from what was held, for scripts.
    pub changes: Value,
    /// The providers that it was put at.
    pub at: Vec<ProviderAt>,
    /// Where receipts are kept.
    pub state: Option<PathBuf>,
    /// What each of them said to it.
    pub puts: Vec<Result<Acknowledged, PutError>>,
}

/// Makes `edit` and says what came of it; as `how` has it, only shows it or writes it to a file. Who `insists` overrules others.
///
/// # Errors
/// The record is not what it must be; somebody else changed the same thing; a provider says no or nothing.
pub async fn change(signer: &Signer, edit: Edit, insists: bool, how: &PutArgs, client: &ClientArgs) -> Outcome {
    // Whatever is wrong with what was said is found before anybody is asked.
    let now = clock::now_micros();
    let alone = edit.apply(&Says::nothing());
    let alone = put::sign(signer, now, &alone)?;
    if let Some(path) = &how.sign_only {
        return match edit.remove.first() {
            None => write_signed(&alone, path, how.json),
            Some(what) => Err(Failure::new(
                Exit::Usage,
                format!("--remove {what}"),
                "what is held is not looked at by --sign-only",
            )
            .help("leave it out: what is signed says everything that the name stands for")),
        };
    }
    let client = Client::load(client)?;
    let publisher = Publisher::new(accounts(&client));
    let writer = Writer::new(signer, &publisher, &client, edit.how, how);
    let reads = writer.read().await;
    if reads.iter().all(Result::is_err)
        && let Some(Err(error)) = reads.iter().find(|read| read.is_err())
    {
        let failure = failures::put(error.clone());
        if !how.dry_run {
            return Err(failure);
        }
        output::remark(format!("note: what is held is not known: {}", failure.reason()));
        output::remark("note: this is what the record would say if nothing were held");
        return print_record(&alone, how.json);
    }
    warn_of_plain_token(&client);
    let mut update = Update::new(edit, signer.chain.len() as u32, insists);
    if how.dry_run {
        let plan = writer.plan(&mut update, &reads).map_err(|stop| stop.failure(signer))?;
        let record = put::sign(signer, plan.sequence, &plan.says)?;
        if !how.json {
            show_changes(&plan, signer);
        }
        return print_record(&record, how.json);
    }
    let changed = writer.put_where_held(update, reads).await.map_err(|stop| stop.failure(signer))?;
    report(&publisher, &changed, how).await
}

/// Who writes, where, and what it knows.
pub struct Writer<'a> {
    signer: &'a Signer,
    publisher: &'a Publisher,
    /// The providers.
    pub at: &'a [ProviderAt],
    /// The folder of what must outlive the process.
    pub state: Option<PathBuf>,
    floor: Option<FloorKeeper>,
    /// Whether anything of what is held stays: then it must not be too old.
    builds_upon: bool,
    how: &'a PutArgs,
}

/// Why nothing was put.
#[derive(Debug)]
pub enum Stop {
    /// What is held stands against it.
    Held(UpdateError),
    /// Anything else.
    Other(Failure),
}

/// What one provider serves.
pub type Read = Result<Option<VerifiedRecord>, PutError>;

impl Stop {
    /// As the verb ends with it, with what is held shown where somebody has to decide.
    pub fn failure(self, signer: &Signer) -> Failure {
        match self {
            Self::Held(error) => refused(signer, error),
            Self::Other(failure) => failure,
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl<'a> Writer<'a> {
    /// Who writes with this key at the providers of `client`.
    pub fn new(signer: &'a Signer, publisher: &'a Publisher, client: &'a Client, edits: How, how: &'a PutArgs) -> Self {
        Self {
            signer,
            publisher,
            at: &client.providers.value,
            state: state(client),
            floor: floor(client),
            builds_upon: edits != How::Replace,
            how,
        }
    }

    /// Plans, shows, signs and puts until nobody comes in between.
    ///
    /// # Errors
    /// [`Stop`]: nothing was put in the last round.
    pub async fn put_where_held(&self, mut update: Update, mut reads: Vec<Read>) -> Result<Changed, Stop> {
        let Self {
            signer, publisher, how, ..
        } = *self;
        loop {
            let mut plan = self.plan(&mut update, &reads)?;
            if let Some(rank) = how.if_match {
                plan.conditions.fill(PutIf::Held(rank));
            }
            if !how.json {
                show_changes(&plan, signer);
            }
            let record = put::sign(signer, plan.sequence, &plan.says)?;
            let puts = publisher.put_each(&record, &plan.conditions).await;
            if let Some(floor) = self.floor.as_ref().filter(|_| puts.iter().any(Result::is_ok)) {
                floor.raise(record.name(), record.rank());
            }
            match update.judge(record.rank(), &puts) {
                Next::Again if how.if_match.is_none() => {
                    output::remark("what is held is not what was read: looking again");
                    sleep(Duration::from_millis(rand::random_range(PAUSE_MS))).await;
                    reads = self.read().await;
                }
                Next::Again | Next::Done => {
                    if puts.iter().any(|put| matches!(put, Err(PutError::ConditionFailed { .. })))
                        && let Ok(Some(held)) = publisher.held(&signer.name()).await
                    {
                        show_held(&held);
                    }
                    let changes = changes_json(&plan);
                    return Ok(Changed {
                        record,
                        changes,
                        at: self.at.to_vec(),
                        state: self.state.clone(),
                        puts,
                    });
                }
            }
        }
    }

    /// The next plan, if what was read can be believed and is what was expected.
    fn plan(&self, update: &mut Update, reads: &[Read]) -> Result<Plan, Stop> {
        let name = self.signer.name();
        let plan = update.plan(reads, clock::now_micros()).map_err(Stop::Held)?;
        let held = plan.base.as_ref().map(|base| *base.rank());
        if let Some(wanted) = self.how.if_match
            && held != Some(wanted)
        {
            plan.base.as_ref().into_iter().for_each(show_held);
            let provider = name.to_string();
            return Err(failures::put(PutError::ConditionFailed { provider, held }).into());
        }
        let seen = self.floor.as_ref().filter(|_| self.builds_upon).and_then(|floor| floor.rank(&name));
        match (&held, seen) {
            (Some(held), Some(seen)) if standing(Some(&seen), held) == Standing::Below => Err(Failure::new(
                Exit::Unverified,
                name,
                format!("what is held (rank {held}) is older than what this machine published (rank {seen})"),
            )
            .help("ask another provider with --provider: this one lost something, or holds it back")
            .help("to say everything anew, whatever is held, use --replace")
            .into()),
            (None, Some(seen)) => {
                output::remark(format!(
                    "note: this machine published a record of this name before (rank {seen}), which no provider asked now holds: this one begins anew"
                ));
                Ok(plan)
            }
            (Some(_) | None, _) => Ok(plan),
        }
    }

    /// What each provider serves. Where all of it is older than what this machine published, it is asked again for a while: what was put at one
    /// provider is on its way to the others.
    pub async fn read(&self) -> Vec<Read> {
        let name = self.signer.name();
        let seen = self.floor.as_ref().filter(|_| self.builds_upon).and_then(|floor| floor.rank(&name));
        let began = Instant::now();
        loop {
            let reads = self.publisher.held_by_each(&name).await;
            let mut served = reads.iter().filter_map(|read| read.as_ref().ok()?.as_ref()).peekable();
            let is_late = served.peek().is_some() && served.all(|record| standing(seen.as_ref(), record.rank()) == Standing::Below);
            if !is_late || began.elapsed() > LAG {
                return reads;
            }
            sleep(VISIBLE_EVERY_MAX).await;
        }
    }
}

fn refused(signer: &Signer, error: UpdateError) -> Failure {
    let name = signer.name();
    let failure = |exit| Failure::new(exit, name, &error);
    match &error {
        UpdateError::LaterKey(held) => {
            show_held(held);
            failure(Exit::Refused).help(format!(
                "the key was rotated since: what this one (key epoch {}) signs counts nowhere; use the one in force",
                signer.chain.len()
            ))
        }
        UpdateError::Revoked(_) => {
            failure(Exit::Refused).help("`dialtone key rotate` puts the next key in force, which brings the name back")
        }
        UpdateError::UnknownParts(held) => {
            show_held(held);
            failure(Exit::BadInput)
                .help("publish with the version that wrote it")
                .help("or say everything anew, with --replace")
        }
        UpdateError::NothingHeld => failure(Exit::Absent).help("say what the name stands for, such as --address 192.0.2.7"),
        UpdateError::NothingToRemove(_) => failure(Exit::Absent).help("`dialtone resolve` shows what the name stands for"),
        UpdateError::Conflict { held, .. } => {
            show_held(held);
            failure(Exit::Refused)
                .help("this is what is held now; nothing of yours is: publish again if you still want it so")
                .help(format!("or only if it is still that: --if-match {}", held.rank()))
        }
    }
}

/// What is held now, for whoever has to decide.
fn show_held(held: &VerifiedRecord) {
    output::remark(format!("held     rank {}, signed {}", held.rank(), held.record().sequence.secs()));
    for binding in held.record().bindings() {
        output::remark(format!("    {}", show::binding(binding)));
    }
}

/// What becomes of what is held.
fn show_changes(plan: &Plan, signer: &Signer) {
    let held = plan.base.as_ref().map(VerifiedRecord::record);
    match &plan.base {
        None => output::remark("held     nothing yet"),
        Some(base) => output::remark(format!("held     rank {}, signed {}", base.rank(), base.record().sequence.secs())),
    }
    if held.is_some_and(|held| held.chain.len() < signer.chain.len()) {
        output::remark("note: an earlier key signed that: none of it stays by itself");
    }
    let changes = difference(held.map_or(&[][..], |held| held.bindings()), &plan.says.bindings);
    for change in &changes {
        let (mark, binding) = match change {
            Change::Kept(binding) => (' ', binding),
            Change::Removed(binding) => ('-', binding),
            Change::Added(binding) => ('+', binding),
        };
        output::remark(format!("  {mark} {}", show::binding(binding)));
    }
    let Some(was) = held.and_then(Says::of) else { return };
    let mut terms = Vec::new();
    if was.ttl != plan.says.ttl {
        terms.push(format!("ttl {} s → {} s", was.ttl.0, plan.says.ttl.0));
    }
    if was.lifetime_secs != plan.says.lifetime_secs {
        terms.push(format!(
            "lives for {} → {}",
            show::span(was.lifetime_secs),
            show::span(plan.says.lifetime_secs)
        ));
    }
    if was.scope != plan.says.scope {
        let scope = |names: &[dialtone_shared::Name]| match names.len() {
            0 => "everywhere".to_owned(),
            count => format!("{count} provider(s)"),
        };
        terms.push(format!("held {} → {}", scope(&was.scope), scope(&plan.says.scope)));
    }
    for term in &terms {
        output::remark(format!("  ~ {term}"));
    }
    if terms.is_empty() && changes.iter().all(|change| matches!(change, Change::Kept(_))) {
        output::remark("  nothing changes but the time of signing");
    }
}

fn changes_json(plan: &Plan) -> Value {
    let held = plan.base.as_ref().map_or(&[][..], |base| base.record().bindings());
    let changes = difference(held, &plan.says.bindings);
    let these = |wanted: fn(&Change<'_>) -> bool| -> Vec<Value> {
        let wanted = changes.iter().filter(|change| wanted(change));
        wanted
            .map(|change| match change {
                Change::Kept(binding) | Change::Removed(binding) | Change::Added(binding) => json!(view::binding(binding)),
            })
            .collect()
    };
    json!({
        "from": plan.base.as_ref().map(|base| base.rank().to_string()),
        "added": these(|change| matches!(change, Change::Added(_))),
        "removed": these(|change| matches!(change, Change::Removed(_))),
        "kept": these(|change| matches!(change, Change::Kept(_))),
    })
}

/// The folder of what must outlive the process.
pub fn state(client: &Client) -> Option<PathBuf> {
    client.state.value.clone().or_else(state_folder)
}

/// The highest rank of each name that this machine published. It is none of the stub's floors: what was published here a moment ago may well be
/// on its way to the provider that is asked. Where it cannot be kept, nothing is remembered.
fn floor(client: &Client) -> Option<FloorKeeper> {
    let folder = state(client)?.join("published");
    FloorKeeper::on_disk(&folder, FLOOR_NAMES_MAX)
        .inspect_err(|error| tracing::warn!(folder = %folder.display(), %error, "what was published is not remembered"))
        .ok()
}

/// Between two rounds, in milliseconds: two writers who met do not meet again.
const PAUSE_MS: std::ops::Range<u64> = 5..100;
/// How long a record may be on its way between providers before one that serves an older one is held to have lost it.
const LAG: Duration = Duration::from_secs(2);
