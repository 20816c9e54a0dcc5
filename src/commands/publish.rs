//! `dialtone publish`: signs what a name stands for now, puts it at a provider, and checks the receipt.
//!
//! ```text
//! what is held, verified ─▶ edited, shown ─▶ sign ─▶ put, if it is still held ─▶ receipts checked ─▶ visible?
//!                                            └─▶ a file ─▶ elsewhere, later ─▶ put …
//! ```

pub mod change;
mod keep;
pub mod put;
mod says;

use crate::bindings;
use crate::config::ClientArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::passphrase::PassphraseArgs;
use change::change;
use clap::Args;
use dialtone_resolver::edit::{Edit, How, Removal};
use dialtone_resolver::io::locators::Source;
use dialtone_shared::{Name, Ttl};
use put::PutArgs;
use says::SaysArgs;
use std::path::PathBuf;

/// Sign what a name stands for, and put it at a provider
///
/// What is said takes the place of what was said of the same kind: the addresses, the services of a label, the delegate, the DNS records of
/// an owner and type, the opaque bytes of a media type. Everything else stays as it is; --add, --remove and --replace do otherwise. The difference
/// is shown, and the record is put only if what it was made from is still held: who publishes from two places loses nothing. It is acknowledged
/// when it is on the provider's disk, with a receipt that is checked here.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PublishArgs {
    /// The private key of the name
    #[arg(long, value_name = "FILE", required_unless_present = "signed")]
    key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Put this record, which --sign-only wrote; the key stays where it is
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "addresses", "services", "delegate", "dns", "opaque", "zone", "ttl", "expires", "scope", "everywhere", "add", "remove", "replace", "renew", "sign_only"])]
    signed: Option<PathBuf>,
    #[command(flatten)]
    says: SaysArgs,
    #[command(flatten)]
    stay: StayArgs,
    #[command(flatten)]
    edit: EditArgs,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    put: PutArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What becomes of what is held.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What becomes of what it stood for")]
struct EditArgs {
    /// Let everything stay, and add this to it
    #[arg(long, conflicts_with = "replace")]
    add: bool,
    /// Take away: address[:IP], service[:LABEL], delegate, dns[:OWNER[:TYPE]], opaque[:TYPE/SUBTYPE]; repeat it for more
    #[arg(long, value_name = "WHAT")]
    remove: Vec<Removal>,
    /// Let nothing stay: this is everything that the name stands for
    #[arg(long, conflicts_with = "remove")]
    replace: bool,
    /// Sign anew what it stands for, so that it lives longer
    #[arg(long)]
    renew: bool,
}

/// Whether it is kept alive.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Keeping it alive")]
struct StayArgs {
    /// Stay, sign it anew before it expires, put it again where it is lost or its lease ends, and follow this machine with --follow
    #[arg(long, conflicts_with_all = ["signed", "sign_only", "dry_run", "if_match", "wait_visible_at", "until_visible"])]
    keep: bool,
    /// Publish these addresses, and again within a second when they change: interfaces, interface:NAME, file:PATH or command:LINE, the latter two
    /// with an address a line, written as for --address; repeat it for more
    #[arg(long, value_name = "WHAT", requires = "keep")]
    follow: Vec<Source>,
}

/// For how long, and at whom.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "On what terms")]
pub struct TermsArgs {
    /// How long caches may keep it [default: as before; at first 60s]
    #[arg(long, value_name = "DURATION", value_parser = bindings::ttl)]
    pub ttl: Option<Ttl>,
    /// When it stops being served, from now on; at most 400d [default: as long as before; at first 30d]
    #[arg(long, value_name = "DURATION", value_parser = bindings::lifetime)]
    pub expires: Option<u64>,
    /// Only these providers may hold it, at most 8 [default: as before; at first all]
    #[arg(long, value_name = "NAME", value_parser = bindings::flat_name)]
    pub scope: Vec<Name>,
    /// Every provider may hold it
    #[arg(long, conflicts_with = "scope")]
    pub everywhere: bool,
}

/// Signs and puts it.
///
/// # Errors
/// The key, a binding, or the record is not what it must be; the provider says no or nothing.
pub async fn run(args: PublishArgs) -> Outcome {
    if let Some(signed) = &args.signed {
        return put::put_signed(signed, &args.put, &args.client).await;
    }
    let signer = args.passphrase.signer(&args.key.unwrap_or_default())?;
    let edit = Edit {
        how: match (args.edit.add, args.edit.replace) {
            (true, _) => How::Add,
            (_, true) => How::Replace,
            (false, false) => How::Set,
        },
        remove: args.edit.remove,
        bindings: args.says.bindings(&signer.name())?,
        ..args.terms.edit()
    };
    let says_something = !edit.bindings.is_empty() || !edit.remove.is_empty() || args.terms.says_something();
    if !says_something && !args.edit.renew && !args.stay.keep {
        return Err(Failure::new(
            Exit::Usage,
            "nothing to publish",
            "no address, service, delegate, DNS record, opaque or zone was given",
        )
        .help("say what the name stands for, such as --address 192.0.2.7")
        .help("to sign anew what it stands for already, use --renew")
        .help("to withdraw it, use `dialtone unpublish`"));
    }
    if edit.how == How::Replace && edit.bindings.is_empty() && args.stay.follow.is_empty() {
        return Err(Failure::new(Exit::Usage, "--replace", "there is nothing to replace it with")
            .help("say everything that the name stands for, such as --address 192.0.2.7")
            .help("to withdraw it, use `dialtone unpublish`"));
    }
    if args.stay.keep {
        return keep::keep(&signer, edit, args.stay.follow, &args.put, &args.client).await;
    }
    change(&signer, edit, false, &args.put, &args.client).await
}

impl TermsArgs {
    /// An edit of nothing but these.
    pub fn edit(&self) -> Edit {
        let mut scope = self.scope.clone();
        scope.sort_unstable();
        scope.dedup();
        Edit {
            ttl: self.ttl,
            lifetime_secs: self.expires,
            scope: (self.everywhere || !scope.is_empty()).then_some(scope),
            ..Edit::default()
        }
    }

    fn says_something(&self) -> bool {
        !self.edit().is_empty()
    }
}

const EXAMPLES: &str = "Examples:
  dialtone publish --key alice.key --address 192.0.2.7 --address 2001:db8::7
  dialtone publish --key alice.key --service https:tcp:443,alpn=h2 --dns 'www 300 TXT \"hello\"'    # the addresses stay
  dialtone publish --key alice.key --address 192.0.2.8                                # it moved: these are its addresses now
  dialtone publish --key alice.key --add --address 192.0.2.9 --remove dns:www         # and one more, and no www any longer
  dialtone publish --key alice.key --replace --delegate gateway.example --dry-run     # look first
  dialtone publish --key alice.key --keep --follow interfaces                          # stays, and follows this machine
  dialtone publish --key alice.key --keep --follow file:/run/my-address --service ssh:tcp:22
  dialtone publish --key alice.key --zone alice.zone --expires 90d --ttl 5m
  dialtone publish --key alice.key --address 192.0.2.7 --sign-only alice.record       # on the machine that has the key
  dialtone publish --signed alice.record --provider https://provider.example         # on one that has a network
  dialtone publish --key alice.key --address 192.0.2.7 --provider http://127.0.0.1:4380 --wait-visible-at http://127.0.0.1:4390";
