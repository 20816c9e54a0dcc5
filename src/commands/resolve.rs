//! `dialtone resolve`: from a name to where it is now, with every step and what was checked.

use crate::commands::key::DEFAULT_ORIGIN;
use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::{failures, output, petnames, show};
use clap::Args;
use dialtone_resolver::dns::zone_out::zone_from_record;
use dialtone_resolver::io::clock;
use dialtone_resolver::keyfile::to_hex;
use dialtone_resolver::layers::{self, Endpoint, Host, Node, Resolution, ResolveOptions, Said, Via};
use dialtone_resolver::stub::Stub;
use dialtone_resolver::{RecordSource, view};
use dialtone_shared::hip::Hit;
use dialtone_shared::record::Transport;
use dialtone_shared::{Name, UnixSecs, VerifiedRecord};
use serde_json::{Value, json};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// Resolve a name: its layers, each verified here, and where to go
///
/// NAME is a flat name in any form (text, dialtone:…, DNS), a petname, or the Host Identity Tag of a name's key (2001:25:…). Every record on the way is checked on this
/// machine against the name itself; no provider is believed.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone resolve yg5tyqpz9wxdht84k43xh8a4ncn3fg7jmnp36bryw8jq6ed5u9x9mtei\n  dialtone resolve home --service https\n  \
                        dialtone resolve home --provider http://127.0.0.1:4390 --json\n  \
                        dialtone resolve home --zone > home.zone"
)]
pub struct ResolveArgs {
    /// The name
    name: String,
    /// Only services of this label, such as https
    #[arg(long, value_name = "LABEL")]
    service: Option<String>,
    /// Only services over this
    #[arg(long, value_name = "PROTO")]
    transport: Option<Proto>,
    /// Print what the record of NAME says as a zone file, which `dialtone publish --zone` takes; what a zone has no line for is a comment
    #[arg(long, conflicts_with_all = ["json", "service", "transport"])]
    zone: bool,
    /// A region that is near, as publishers call it; repeat it, nearest first: what is there comes first
    #[arg(long, value_name = "REGION")]
    region: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// What a service runs over.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Proto {
    Tcp,
    Udp,
}

/// Resolves it.
///
/// # Errors
/// It is no name, nobody answers, the answer cannot be believed, or there is none.
pub async fn run(args: ResolveArgs) -> Outcome {
    let client = Client::load(&args.client)?;
    let asked = asked(&args.name, &client)?;
    let stub = Stub::connect(client.stub_settings()).await.map_err(failures::stub)?;
    let options = ResolveOptions {
        service: args.service,
        transport: args.transport.map(|proto| match proto {
            Proto::Tcp => Transport::Tcp,
            Proto::Udp => Transport::Udp,
        }),
        regions: args.region,
        seed: rand::random(),
    };
    let began = Instant::now();
    let name = match asked {
        Asked::Name(name) => name,
        Asked::Hit(hit) => name_of(&stub, &hit).await?,
    };
    let resolution = layers::resolve(&stub, &name, &options).await.map_err(failures::resolve)?;
    let took = began.elapsed();
    let now = clock::now().unix;
    if args.zone {
        if let Said::Record { record, .. } = &resolution.tree.said {
            return output::text(zone_from_record(record, DEFAULT_ORIGIN, show::binding));
        }
    } else if args.json {
        output::json(&to_json(&resolution, took))?;
    } else {
        print(&resolution, &answered(&stub), took, now)?;
    }
    verdict(&resolution, &options)
}

/// What was typed.
enum Asked {
    Name(Name),
    Hit(Hit),
}

fn asked(typed: &str, client: &Client) -> Result<Asked, Failure> {
    let Ok(address) = typed.parse::<Ipv6Addr>() else {
        return petnames::resolve(typed, &client.map.value).map(Asked::Name);
    };
    Hit::from_address(address).map(Asked::Hit).ok_or_else(|| {
        Failure::new(
            Exit::BadInput,
            address,
            "an address, and not the Host Identity Tag of an Ed25519 key",
        )
        .help("such a tag begins with 2001:25:; `dialtone key show` says a name's")
    })
}

/// The name whose key has this tag.
async fn name_of(stub: &Stub, hit: &Hit) -> Result<Name, Failure> {
    match stub.by_hit(hit).await {
        Ok(Some((record, _))) => Ok(*record.name()),
        Ok(None) => Err(Failure::new(Exit::Absent, hit, "no name whose key has this tag is known")
            .help("its publisher has not published it, or uses another key by now: ask them")),
        Err(error) => Err(failures::lookup(hit, error)),
    }
}

/// The providers that said something: those listed behind them were not needed.
fn answered(stub: &Stub) -> Vec<String> {
    let said = stub.health().into_iter().filter(|at| at.latency.is_some());
    let mut answered: Vec<String> = said.map(|at| at.provider.to_string()).collect();
    answered.dedup(); // a provider may answer at several addresses
    answered
}

/// Whether there was anything to show; what is shown is already said.
fn verdict(resolution: &Resolution, options: &ResolveOptions) -> Outcome {
    let name = &resolution.tree.name;
    match &resolution.tree.said {
        Said::Absent { .. } => {
            return Err(Failure::new(Exit::Absent, name, "there is no record of this name")
                .help("its publisher has not published it, or its record has expired: ask them"));
        }
        Said::Record { record, .. } if record.record().is_revoked() => {
            return Err(Failure::new(
                Exit::Absent,
                name,
                "revoked: its key is lost, and nothing is to be believed of it any more",
            )
            .help("it stands for something again once its owner takes the next key (`dialtone key rotate`) and publishes"));
        }
        Said::Record { .. } | Said::Failed(_) | Said::Cycle | Said::Limit(_) => {}
    }
    if resolution.endpoints.is_empty() {
        if let Some(label) = &options.service {
            return Err(
                Failure::new(Exit::Absent, name, format!("it offers no service `{}`", show::printable(label)))
                    .help("leave out --service to see all that it offers"),
            );
        }
        if let Some((at, said)) = resolution.trouble() {
            return Err(match said {
                Said::Failed(error) => failures::lookup(at, error.clone()),
                Said::Absent { .. } | Said::Record { .. } | Said::Cycle | Said::Limit(_) => {
                    Failure::new(Exit::Absent, at, "the way ends here: it leads nowhere")
                        .help("the tree above shows the way; its publisher has to mend it")
                }
            });
        }
    }
    Ok(())
}

fn print(resolution: &Resolution, answered: &[String], took: Duration, now: UnixSecs) -> Outcome {
    let mut text = String::new();
    draw(&resolution.tree, "", "", now, &mut text);
    if !resolution.endpoints.is_empty() {
        text += "\nendpoints, best first:\n";
        for (index, endpoint) in resolution.endpoints.iter().enumerate() {
            text += &format!("  {}. {}\n", index + 1, endpoint_line(endpoint));
        }
    }
    text += &format!("\nanswered by {} in {}\n", answered.join(", "), output::millis(took));
    output::text(text)
}

/// A name, its bindings, and the names that it leads to, as a tree. `first` stands before its first line, `rest` before the others.
fn draw(node: &Node, first: &str, rest: &str, now: UnixSecs, out: &mut String) {
    let via = match &node.via {
        Via::Asked => String::new(),
        Via::Service(label) => format!("{} at ", show::printable(label)),
        Via::Delegate => "delegate ".to_owned(),
    };
    *out += &format!("{first}{via}{}\n", node.name);
    let (record, mark) = match &node.said {
        Said::Record { record, ttl } => (Some(record), record_line(record, ttl.0, now)),
        Said::Absent { .. } => (None, "✗ there is no record".to_owned()),
        Said::Failed(error) => (None, format!("✗ {}", show::printable(&error.to_string()))),
        Said::Cycle => (None, "✗ leads back to itself".to_owned()),
        Said::Limit(which) => (None, format!("✗ not followed: {which}")),
    };
    let bindings = record.map_or(&[][..], |record| record.record().bindings());
    let below = bindings.len() + node.children.len();
    let bar = if below > 0 { "│  " } else { "   " };
    *out += &format!("{rest}{bar}{mark}\n");
    if let Some(record) = record {
        *out += &format!("{rest}{bar}rank {}\n", record.rank());
    }
    for (index, binding) in bindings.iter().enumerate() {
        let twig = if index + 1 == below { "└─ " } else { "├─ " };
        *out += &format!("{rest}{twig}{}\n", show::binding(binding));
    }
    for (index, child) in node.children.iter().enumerate() {
        let last = index + 1 == node.children.len();
        let (twig, bar) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(child, &format!("{rest}{twig}"), &format!("{rest}{bar}"), now, out);
    }
}

fn record_line(record: &VerifiedRecord, ttl_secs: u32, now: UnixSecs) -> String {
    let says = record.record();
    if says.is_revoked() {
        return "✓ signed, and REVOKED".to_owned();
    }
    if let Some(value) = record.value() {
        let (bytes, name) = (value.len(), record.name());
        return format!("✓ hashed: a value of {bytes} bytes, ttl {ttl_secs} s; `dialtone get {name}` brings it");
    }
    let expiry = says
        .expiry()
        .map_or_else(String::new, |expiry| format!(", expires {}", show::until(expiry, now)));
    let epoch = if says.epoch() > 0 {
        format!(" by key {}", says.epoch() + 1)
    } else {
        String::new()
    };
    let empty = if says.bindings().is_empty() {
        ", stands for nothing now"
    } else {
        ""
    };
    format!("✓ signed{epoch} {}, ttl {ttl_secs} s{expiry}{empty}", says.sequence.secs())
}

fn endpoint_line(endpoint: &Endpoint) -> String {
    let host = match &endpoint.host {
        Host::Ip(ip) => match (ip, endpoint.port) {
            (std::net::IpAddr::V6(ip), Some(_)) => format!("[{ip}]"),
            (ip, _) => ip.to_string(),
        },
        Host::Legacy(dns) => dns.clone(),
    };
    let mut line = match endpoint.port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    };
    if let Some(label) = &endpoint.service {
        line += &format!("  {label}");
    }
    if let Some(transport) = endpoint.transport {
        line += &format!("/{}", show::transport(transport));
    }
    if !endpoint.alpn.is_empty() {
        line += &format!("  alpn {}", show::printable(&endpoint.alpn.join(" ")));
    }
    if !endpoint.pins.is_empty() {
        line += &format!("  {} pinned key(s)", endpoint.pins.len());
    }
    if let Some(region) = &endpoint.region {
        line += &format!("  region {region}");
    }
    if !endpoint.onward.is_empty() {
        let steps: Vec<String> = endpoint.onward.iter().map(show::step).collect();
        line += &format!("  then on to {}", steps.join(" → "));
    }
    line
}

fn to_json(resolution: &Resolution, took: Duration) -> Value {
    json!({
        "name": resolution.tree.name.to_string(),
        "tree": node_json(&resolution.tree),
        "endpoints": resolution.endpoints.iter().map(endpoint_json).collect::<Vec<_>>(),
        "ttl": resolution.ttl.0,
        "ms": output::millis_json(took),
    })
}

fn node_json(node: &Node) -> Value {
    let (via, label) = match &node.via {
        Via::Asked => ("asked", None),
        Via::Service(label) => ("service", Some(label)),
        Via::Delegate => ("delegate", None),
    };
    let mut value = json!({
        "name": node.name.to_string(),
        "via": via,
        "service": label,
        "legacy": node.legacy,
        "children": node.children.iter().map(node_json).collect::<Vec<_>>(),
    });
    let (said, more) = match &node.said {
        Said::Record { record, ttl } => {
            value["ttl"] = json!(ttl.0);
            (
                if record.record().is_revoked() { "revoked" } else { "record" },
                json!(view::record(record)),
            )
        }
        Said::Absent { .. } => ("absent", Value::Null),
        Said::Failed(error) => ("failed", json!(error.to_string())),
        Said::Cycle => ("cycle", Value::Null),
        Said::Limit(which) => ("limit", json!(which)),
    };
    value["said"] = json!(said);
    value[if said == "failed" || said == "limit" { "reason" } else { "record" }] = more;
    value
}

fn endpoint_json(endpoint: &Endpoint) -> Value {
    let (ip, host) = match &endpoint.host {
        Host::Ip(ip) => (Some(ip), None),
        Host::Legacy(dns) => (None, Some(dns)),
    };
    json!({
        "ip": ip,
        "host": host,
        "port": endpoint.port,
        "transport": endpoint.transport.map(show::transport),
        "service": endpoint.service,
        "alpn": endpoint.alpn,
        "pins": endpoint.pins.iter().map(|pin| to_hex(pin)).collect::<Vec<_>>(),
        "region": endpoint.region,
        "path": endpoint.path.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "onward": endpoint.onward.iter().map(show::step).collect::<Vec<_>>(),
    })
}
