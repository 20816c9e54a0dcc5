//! `dialtone doctor`: what is reachable, how fast, and what to do about what is not.

mod causes;
mod network;

use crate::ask::{Over, ask};
use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::{failures, output, petnames};
use bytes::Bytes;
use clap::Args;
use dialtone_resolver::io::http::{Answer, HttpClient};
use dialtone_resolver::io::{clock, environment, key_files};
use dialtone_resolver::settings::{HTTP_CONNECT, ProviderAt};
use dialtone_shared::{Name, UnixSecs};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Check what this machine needs, and say what to do about what is missing
///
/// Asks the provider over HTTP and over DNS (UDP and TCP), compares clocks, asks whether puts would be kept, and looks at the
/// files that the other verbs use. Of a provider that runs on this machine it looks at every link: what cannot resolve where, and whose turn it is.
/// With --settings nothing is asked of anyone: it says whether a network of providers with these settings is coherent, and if not, which names
/// would not resolve where, and who is to change what. Relative paths in a settings file are from its folder, wherever a provider is started
/// with it. The exit status is that of the worst `bad` finding; `odd` ones alone leave it at 0.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone doctor\n  dialtone doctor --provider http://127.0.0.1:4380 --provider http://127.0.0.1:4390\n  \
                        dialtone doctor --key alice.key --json\n  \
                        dialtone doctor --settings a/provider.toml --settings b/provider.toml"
)]
pub struct DoctorArgs {
    /// Look at this key's files, too; repeat it for more
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Check the network that providers with these settings make, before they are started; repeat it for each. NAME is needed where the provider
    /// has no key yet
    #[arg(long = "settings", value_name = "[NAME=]FILE", value_parser = network::planned)]
    settings: Vec<network::Planned>,
    /// Look at the links of the provider with this data folder [env: DIALTONE_DATA] [default: ./dialtone-data, if one runs with it]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// What was looked at, and how it is.
#[derive(Clone, Debug)]
struct Finding {
    thing: String,
    state: State,
    says: String,
    help: Vec<String>,
}

/// How a thing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Good,
    /// It works, but not as well as it could.
    Odd,
    /// It does not work; the status to leave with.
    Bad(Exit),
}

/// Looks at everything and reports.
///
/// # Errors
/// The settings cannot be read; otherwise the status of the worst finding, already said.
pub async fn run(args: DoctorArgs) -> Outcome {
    if !args.settings.is_empty() {
        return report(&network::of_settings(&args.settings)?, args.json);
    }
    let client = Client::load(&args.client)?;
    let (mut findings, mut asked) = (Vec::new(), Vec::new());
    let http = HttpClient::new();
    for at in &client.providers.value {
        let (name, found) = provider(&http, at, &client).await;
        asked.extend(name);
        findings.extend(found);
    }
    findings.extend(network::of_running(args.data, &asked).await?);
    findings.push(floors(client.state.value.clone()));
    findings.push(map(&client.map.value));
    findings.extend(args.keys.iter().map(|path| key(path)));
    report(&findings, args.json)
}

/// Says what was found.
fn report(findings: &[Finding], json: bool) -> Outcome {
    let worst = findings.iter().find_map(|finding| match finding.state {
        State::Bad(exit) => Some(exit),
        State::Good | State::Odd => None,
    });
    if json {
        output::json(&json!({
            "good": worst.is_none(),
            "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        }))?;
    } else {
        findings.iter().try_for_each(|finding| output::text(finding.to_text()))?;
    }
    worst.map_or(Ok(()), |exit| Err(Failure::already_said(exit)))
}

/// Everything about one provider, stopping where nothing more can be learnt; and its name, where it says that.
async fn provider(http: &HttpClient, at: &ProviderAt, client: &Client) -> (Option<Name>, Vec<Finding>) {
    let base = match at {
        ProviderAt::Http(base) => base,
        ProviderAt::Dns { host, origin } => return (None, dns_only(host, origin).await),
    };
    let thing = format!("provider {base}");
    let began = Instant::now();
    let info = match http.info(base).await {
        Ok(info) => info,
        Err(error) => {
            let finding = Finding::bad(&thing, Exit::Network, error)
                .help("start one on this machine: `dialtone up`, or `dialtone provider`")
                .help(format!(
                    "or name another with --provider or DIALTONE_PROVIDER (this one is from {})",
                    client.providers.source
                ));
            return (None, vec![finding]);
        }
    };
    let mut findings = vec![Finding::good(
        &thing,
        format!("is {}, found in {}", info.name, output::millis(began.elapsed())),
    )];
    findings.extend(http_speed_and_clock(http, base, &thing).await);
    findings.push(health(http, base, &thing, client.token.value.is_some()).await);
    findings.push(absence(http, base, &thing).await);
    if info.dns.is_empty() {
        findings.push(
            Finding::bad(
                &format!("{thing}: DNS"),
                Exit::Network,
                "it answers no DNS that can be reached from here: names cannot be looked up at it",
            )
            .help("its operator sets `dns.listen` to an address that clients reach"),
        );
    }
    for address in &info.dns {
        findings.extend(dns(*address, info.origin.as_str()).await);
    }
    (Some(info.name), findings)
}

async fn dns_only(host: &str, origin: &str) -> Vec<Finding> {
    match tokio::net::lookup_host(host).await.map(|mut found| found.next()) {
        Ok(Some(address)) => dns(address, origin).await,
        Ok(None) => vec![Finding::bad(host, Exit::Network, "its host name has no address").help("check the host name")],
        Err(error) => vec![Finding::bad(host, Exit::Network, crate::exit::plain(&error)).help("check the host name")],
    }
}

/// How fast a warm connection answers, and whether its clock agrees with ours.
async fn http_speed_and_clock(http: &HttpClient, base: &str, thing: &str) -> Option<Finding> {
    let began = Instant::now();
    let answer = get(http, base, "/v1/info").await.ok()?;
    let took = began.elapsed();
    let here = clock::now().unix;
    let there = answer.headers.get("date").and_then(|date| date.to_str().ok()).and_then(http_date);
    let thing = format!("{thing}: HTTP");
    let Some(there) = there else {
        return Some(Finding::good(&thing, format!("answers in {}", output::millis(took))));
    };
    let skew = here.since(there).max(there.since(here));
    let (ahead, behind) = if here > there {
        ("this machine", "the provider")
    } else {
        ("the provider", "this machine")
    };
    let says = format!("answers in {}; {ahead} is {skew} s ahead of {behind}", output::millis(took));
    Some(if skew <= SKEW_FINE {
        Finding::good(&thing, format!("answers in {}, the clocks agree", output::millis(took)))
    } else if skew <= SKEW_REFUSED {
        Finding::odd(&thing, says).help("set the clock by NTP: records are ordered by the time of signing")
    } else {
        Finding::bad(&thing, Exit::Local, says).help("set the clock by NTP: records from more than 5 minutes in the future are refused")
    })
}

async fn health(http: &HttpClient, base: &str, thing: &str, has_token: bool) -> Finding {
    let thing = format!("{thing}: puts");
    match get(http, base, "/healthz").await {
        Ok(answer) if answer.status == 200 && !has_token && wants_token(http, base).await => {
            Finding::odd(&thing, "would be kept, but only from customers, and no token is set here")
                .help("to publish there ask its operator for an account, and set DIALTONE_TOKEN to its token")
        }
        Ok(answer) if answer.status == 200 => Finding::good(&thing, "would be kept (a write reached its disk)"),
        Ok(answer) => Finding::bad(&thing, Exit::Busy, format!("would not be kept: {}", reason_in(&answer, "reason")))
            .help("its operator looks at its disk and log; publish at another provider meanwhile"),
        Err(error) => Finding::bad(&thing, Exit::Network, error),
    }
}

/// Whether nobody may put without a token, as far as it says.
async fn wants_token(http: &HttpClient, base: &str) -> bool {
    let info = get(http, base, "/v1/info").await.ok();
    let info = info.and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
    info.is_some_and(|info| info["limits"]["anonymous_puts"] == "nobody")
}

/// Whether it can say of a name that there is none: only when its links with its peers have caught up.
async fn absence(http: &HttpClient, base: &str, thing: &str) -> Finding {
    let thing = format!("{thing}: peers");
    let nobody = Name::key_set(rand::random());
    match get(http, base, &format!("/v1/records/{nobody}")).await {
        Ok(answer) if answer.status == 404 => Finding::good(&thing, "caught up with all it has: it can say that a name does not exist"),
        Ok(answer) if answer.status == 503 => Finding::odd(
            &thing,
            format!("it cannot say that a name does not exist: {}", reason_in(&answer, "detail")),
        )
        .help("its operator looks at that link: is the peer up, reachable, and is there an agreement on its side too?"),
        Ok(answer) => Finding::bad(
            &thing,
            Exit::Network,
            format!("it answers a question for a name with status {}", answer.status),
        )
        .help("check the URL: this may not be a Dialtone provider"),
        Err(error) => Finding::bad(&thing, Exit::Network, error),
    }
}

/// What a JSON answer gives as its reason; otherwise its status.
fn reason_in(answer: &Answer, member: &str) -> String {
    let said = serde_json::from_slice::<Value>(&answer.body).ok();
    let said = said.as_ref().and_then(|body| body[member].as_str());
    said.map_or_else(|| format!("status {}", answer.status), crate::show::printable)
}

/// One DNS address, over both transports: an answer of the right kind, from what speaks for the origin.
async fn dns(address: SocketAddr, origin: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (over, label, firewall) in [(Over::Udp, "UDP", "udp"), (Over::Tcp, "TCP", "tcp")] {
        let thing = format!("DNS {address} over {label}");
        findings.push(match ask(address, over, origin, RecordType::SOA, PATIENCE).await {
            Ok(said) if said.code == ResponseCode::NoError && said.answers > 0 => {
                Finding::good(&thing, format!("answers for {origin} in {}", output::millis(said.took)))
            }
            Ok(said) => Finding::bad(
                &thing,
                Exit::Network,
                format!("answers {} for {origin}: it does not speak for it", said.code),
            )
            .help("check that the address is the provider's, and not another DNS server's"),
            Err(error) => Finding::bad(&thing, Exit::Network, error)
                .help(format!("check that {firewall} port {} is open on the way there", address.port())),
        });
    }
    findings
}

/// Whether rollback floors can be kept.
fn floors(folder: Option<PathBuf>) -> Finding {
    let Some(folder) = folder.or_else(environment::state_folder) else {
        return Finding::odd("rollback floors", "kept in memory only: there is no home folder")
            .help("set DIALTONE_STATE to a folder that lasts");
    };
    let thing = format!("rollback floors in {}", folder.display());
    let tried = std::fs::create_dir_all(&folder).and_then(|()| {
        let probe = folder.join(format!(".probe-{}", std::process::id()));
        std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe))
    });
    match tried {
        Ok(()) => Finding::good(&thing, "can be kept"),
        Err(error) => Finding::bad(&thing, Exit::Local, format!("cannot be kept: {}", crate::exit::plain(&error)))
            .help("make the folder writable, or set DIALTONE_STATE to another"),
    }
}

fn map(path: &Path) -> Finding {
    let thing = format!("petnames in {}", path.display());
    match petnames::load(path) {
        Ok(aliases) if aliases.is_empty() => Finding::good(&thing, "none yet (`dialtone alias NAME TEXT` adds one)"),
        Ok(aliases) => Finding::good(&thing, format!("{} of them", aliases.len())),
        Err(failure) => Finding::from_failure(&thing, &failure),
    }
}

fn key(path: &Path) -> Finding {
    let thing = format!("key {}", path.display());
    match key_files::load_public(path) {
        Ok(public) => Finding::good(&thing, format!("of {}, key epoch {}", public.name(), public.epoch)),
        Err(error) => Finding::from_failure(&thing, &failures::key_file(error)),
    }
}

async fn get(http: &HttpClient, base: &str, path: &str) -> Result<Answer, String> {
    http.ask(hyper::Method::GET, &format!("{base}{path}"), &[], Bytes::new(), HTTP_CONNECT)
        .await
        .map_err(|error| error.to_string())
}

impl Finding {
    fn of(thing: &str, state: State, says: impl ToString) -> Self {
        Self {
            thing: thing.to_owned(),
            state,
            says: says.to_string(),
            help: Vec::new(),
        }
    }

    fn good(thing: &str, says: impl ToString) -> Self {
        Self::of(thing, State::Good, says)
    }

    fn odd(thing: &str, says: impl ToString) -> Self {
        Self::of(thing, State::Odd, says)
    }

    fn bad(thing: &str, exit: Exit, says: impl ToString) -> Self {
        Self::of(thing, State::Bad(exit), says)
    }

    fn from_failure(thing: &str, failure: &Failure) -> Self {
        Self {
            help: failure.remedies().to_vec(),
            ..Self::bad(thing, failure.exit, failure.reason())
        }
    }

    fn help(mut self, remedy: impl ToString) -> Self {
        self.help.push(remedy.to_string());
        self
    }

    fn mark(&self) -> &'static str {
        match self.state {
            State::Good => "good",
            State::Odd => "odd",
            State::Bad(_) => "bad",
        }
    }

    fn to_text(&self) -> String {
        // What a provider says of itself may be anything.
        let says = crate::show::printable(&self.says);
        let mut text = format!("{:<5} {}: {says}\n", self.mark(), self.thing);
        for remedy in &self.help {
            text += &format!("      help: {remedy}\n");
        }
        text
    }

    fn to_json(&self) -> Value {
        json!({ "thing": self.thing, "state": self.mark(), "says": self.says, "help": self.help })
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<UnixSecs> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|known| *known == month)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    if !(1_970..10_000).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days from a civil date, after Howard Hinnant's `days_from_civil`: years begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    days.checked_sub(719_468)
        .map(|days| UnixSecs(days * 86_400 + hour * 3_600 + minute * 60 + second))
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Seconds by which clocks may differ unnoticed: a Date header is a whole second, and the answer takes a while.
const SKEW_FINE: u64 = 2;
/// Seconds by which a record may come from the future (`FUTURE_PUT_SECS`).
const SKEW_REFUSED: u64 = dialtone_shared::limits::FUTURE_PUT_SECS;
/// How long a DNS answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_is_read_as_everyone_writes_it() {
        for (text, secs) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("Sun, 28 Feb 2100 23:59:59 GMT", Some(4_107_542_399)),
            ("tomorrow", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(http_date(text), secs.map(UnixSecs), "{text}");
        }
    }
}
