//! What a network comes to: of a provider that runs, from its links; of planned ones, from all of their settings.

use super::{Finding, State, causes};
use crate::bindings;
use crate::control::{About, Asked, PeerView, Request, ask};
use crate::exit::{Exit, Failure};
use crate::place::{self, PlaceArgs};
use dialtone_provider::Settings;
use dialtone_provider::peering::agreement;
use dialtone_provider::peering::network::Network;
use dialtone_provider::{identity, settings::PeerSettings};
use dialtone_shared::Name;
use dialtone_shared::message::Relationship;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A provider's settings, and its name where that is given.
#[derive(Clone, Debug)]
pub struct Planned {
    name: Option<Name>,
    file: PathBuf,
}

/// `FILE` or `NAME=FILE`. What is no name may be part of a path, if there is such a file.
pub fn planned(typed: &str) -> Result<Planned, String> {
    let (name, file) = match typed.split_once('=') {
        Some((name, file)) => match bindings::flat_name(name) {
            Ok(name) => (Some(name), file),
            Err(_) if Path::new(typed).exists() => (None, typed),
            Err(error) => return Err(format!("{error}; and there is no file of this path")),
        },
        None => (None, typed),
    };
    Ok(Planned { name, file: file.into() })
}

/// What the network of these providers would come to.
///
/// # Errors
/// A file cannot be used, or it is not known whose it is.
pub fn of_settings(files: &[Planned]) -> Result<Vec<Finding>, Failure> {
    let mut providers = BTreeMap::new();
    for planned in files {
        let settings = place::load(&planned.file)?;
        let name = match planned.name {
            Some(name) => name,
            None => name_of(&settings, &planned.file)?,
        };
        let peers = settings.peers.iter().map(PeerSettings::agreement).collect();
        let filed = agreement::file(&name, peers)
            .map_err(|error| Failure::new(Exit::Settings, planned.file.display(), error).help("mend the [[peer]] blocks of the file"))?;
        if providers.insert(name, filed).is_some() {
            return Err(
                Failure::new(Exit::BadInput, planned.file.display(), format!("{name} has another file already"))
                    .help("give each provider's settings once"),
            );
        }
    }
    let count = providers.len();
    let found = Network::new(providers).findings();
    if found.is_empty() {
        let says = format!("a name put at any of the {count} resolves at all of them");
        return Ok(vec![Finding::good("network", says)]);
    }
    let finding = |finding: &dialtone_provider::peering::network::Finding| {
        Finding::bad(&format!("provider {}", finding.provider), Exit::Settings, finding).help(finding.remedy())
    };
    Ok(found.iter().map(finding).collect())
}

fn name_of(settings: &Settings, file: &Path) -> Result<Name, Failure> {
    let key = settings.identity.key.clone().unwrap_or_else(|| settings.data.join("identity.key"));
    let signer = identity::open(&key, false).map_err(|error| {
        Failure::new(
            Exit::Settings,
            file.display(),
            format!("it cannot be told whose settings these are: its key: {error}"),
        )
        .help("write `--settings NAME=FILE`, with the provider's name, as it prints it at its start")
    })?;
    Ok(signer.name())
}

/// What the links of the provider that runs with this data folder come to, and which one that is: it need not be one of those that were `asked`.
/// Nothing, if none runs with the folder and it was not named.
///
/// # Errors
/// The settings or the provider cannot be read; none runs, although its folder was named.
pub async fn of_running(data: Option<PathBuf>, asked: &[Name]) -> Result<Vec<Finding>, Failure> {
    let named = data.is_some();
    let place = PlaceArgs { config: None, data }.find();
    let place = match place {
        Ok(place) => place,
        Err(_) if !named => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    match ask::<About>(place.data(), &Request::Peers).await {
        Ok(Asked::Told(about)) => {
            let folder = format!("data folder {}", place.data().display());
            let who = Finding::good(&folder, whose(&about, asked));
            let of_it = |finding: Finding| Finding {
                thing: format!("{folder}: {}", finding.thing),
                ..finding
            };
            Ok(std::iter::once(who).chain(of_links(&about).into_iter().map(of_it)).collect())
        }
        Ok(Asked::NobodyRuns) if named => Err(
            Failure::new(Exit::Local, place.data().display(), "no provider runs with this data folder")
                .help("start it, or leave --data out"),
        ),
        Err(failure) if named => Err(failure),
        // None, or somebody else's in the folder that happens to be here.
        Ok(Asked::NobodyRuns) | Err(_) => Ok(Vec::new()),
    }
}

/// Which provider runs with the data folder, and whether it is one of those that were asked over the network.
fn whose(about: &About, asked: &[Name]) -> String {
    let peers = match about.peers.len() {
        0 => "it has no agreements".to_owned(),
        1 => "what follows is of its one agreement".to_owned(),
        count => format!("what follows is of its {count} agreements"),
    };
    let name = &about.name;
    if asked.iter().any(|one| one.to_string() == *name) {
        format!("it is that of {name}, named above; {peers}")
    } else {
        format!("it is that of {name}, which is another provider than is asked above; {peers}")
    }
}

/// What the links of one provider come to, as far as it can know.
fn of_links(about: &About) -> Vec<Finding> {
    let peers = &about.peers;
    let mut findings: Vec<Finding> = peers.iter().flat_map(|peer| of_link(about, peer)).collect();
    let is = |one: Relationship| peers.iter().filter(move |peer| peer.relationship == one.word()).count();
    let (level, above) = (is(Relationship::Peer), is(Relationship::Upstream) + is(Relationship::Mutual));
    if level > 0 && above == 0 {
        findings.push(Finding::good(
            "network",
            format!(
                "this provider is at the top, with {level} peers: names of providers behind theirs resolve here only while all at the top peer with one \
                 another (`dialtone doctor --settings` checks that, given everyone's settings)"
            ),
        ));
    }
    if peers.len() > 1 && peers.iter().all(|peer| peer.state != UP) {
        findings.push(
            Finding::odd(
                "network",
                "no link stands at all: what is put here resolves nowhere else, and the other way round",
            )
            .help("look at this machine's network, its firewall (UDP) and its clock first"),
        );
    }
    if findings.iter().all(|finding| finding.state == State::Good) && !peers.is_empty() {
        findings.push(Finding::good(
            "links",
            format!("{} of them, and each carries names both ways", peers.len()),
        ));
    }
    findings
}

fn of_link(about: &About, peer: &PeerView) -> Vec<Finding> {
    let thing = format!("peer {}", peer.name);
    if peer.state != UP {
        let why = peer.last_error.as_deref().unwrap_or("it has not been heard yet");
        let says = format!(
            "no link stands ({}): {why}. What only it and those behind it hold does not resolve here",
            peer.state
        );
        let finding = Finding::odd(&thing, says);
        return vec![causes::remedies(about, peer).into_iter().fold(finding, Finding::help)];
    }
    let mut findings = Vec::new();
    let none = |mode: &Option<String>| mode.as_deref() == Some("none");
    let asked = peer.asks && peer.is_answered == Some(true);
    if none(&peer.accept.holds) && !asked {
        let turns = [
            (peer.accept.ours == "none", "here: `accept` is none"),
            (none(&peer.accept.theirs), "there: `push` is none"),
            (!peer.asks, "here: `asks` is false"),
            (peer.is_answered == Some(false), "there: `answers` is false"),
        ];
        findings.push(
            Finding::bad(
                &thing,
                Exit::Settings,
                "it tells nothing and is not asked: names put there do not resolve here over this link",
            )
            .help(format!(
                "either push, or asking, has to be allowed by both sides; {}",
                turns_of(&turns)
            )),
        );
    }
    if none(&peer.push.holds) && !peer.answers {
        let turns = [
            (peer.push.ours == "none", "here: `push` is none"),
            (none(&peer.push.theirs), "there: `accept` is none"),
            (true, "here: `answers` is false"),
        ];
        findings.push(
            Finding::bad(
                &thing,
                Exit::Settings,
                "it is told nothing and gets no answers: names put here do not resolve there over this link",
            )
            .help(format!(
                "either push, or answering, has to be allowed by both sides; {}",
                turns_of(&turns)
            )),
        );
    }
    for (mode, ours, theirs) in [
        (&peer.push, "we would push", "it accepts"),
        (&peer.accept, "we would accept", "it pushes"),
    ] {
        if let (true, Some(other)) = (mode.is_mismatch(), &mode.theirs) {
            findings.push(Finding::good(
                &thing,
                format!(
                    "{ours} {} and {theirs} {other}: the lesser holds, and what does not come by itself is asked for",
                    mode.ours
                ),
            ));
        }
    }
    match (peer.filter, peer.their_filter) {
        (ours, Some(theirs)) if ours != theirs => {
            let which = match (ours, theirs) {
                (_, 0) => "only this side lists names that pass, or do not",
                (0, _) => "only its side lists names that pass, or do not",
                _ => "the two sides list different names that pass, or do not",
            };
            let says = format!(
                "{which}: a name passes if both let it, what is shut out is never said to be absent, and the two stores cannot be compared"
            );
            findings.push(Finding::odd(&thing, says).help("make `only`, `except` and `scoped` the same on both sides"));
        }
        _ => {}
    }
    findings
}

fn turns_of(turns: &[(bool, &str)]) -> String {
    let what: Vec<&str> = turns.iter().filter(|(so, _)| *so).map(|(_, what)| *what).collect();
    what.join(", ")
}

/// As a link that stands is called.
const UP: &str = "up";

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::ModeView;

    fn mode(ours: &str, theirs: &str, holds: &str) -> ModeView {
        ModeView {
            ours: ours.to_owned(),
            theirs: Some(theirs.to_owned()),
            holds: Some(holds.to_owned()),
        }
    }

    pub fn peer() -> PeerView {
        PeerView {
            name: "p".to_owned(),
            relationship: "mutual".to_owned(),
            addresses: Vec::new(),
            state: UP.to_owned(),
            address: None,
            push: mode("values", "values", "values"),
            accept: mode("values", "values", "values"),
            answers: true,
            is_answered: Some(true),
            asks: true,
            price: None,
            filter: 0,
            their_filter: Some(0),
            lag: 0,
            sent_all: true,
            received_all: true,
            last_error: None,
            cause: None,
            records_sent: 0,
            records_received: 0,
            bytes_sent: 0,
            bytes_received: 0,
            refused: 0,
            links: 1,
            nodes: Vec::new(),
        }
    }

    fn about(peers: Vec<PeerView>) -> About {
        About {
            name: Name::key_set([1; 32]).to_string(),
            peering: None,
            file: PathBuf::from("p.toml"),
            peers,
        }
    }

    #[test]
    fn whose_links_they_are_is_said() {
        let own = Name::key_set([1; 32]);
        assert!(whose(&about(vec![peer()]), &[own]).contains("named above"));
        assert!(whose(&about(Vec::new()), &[Name::key_set([2; 32])]).contains("another provider"));
    }

    #[test]
    fn what_is_no_name_is_a_path_only_if_there_is_such_a_file() {
        let name = Name::key_set([1; 32]);
        let one = planned(&format!("{name}=a/p.toml")).unwrap();
        assert_eq!((one.name, one.file.as_path()), (Some(name), Path::new("a/p.toml")));
        let error = planned("a=provider.toml").unwrap_err();
        assert!(error.contains("`a` is not a name") && error.contains("no file"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a=b.toml");
        std::fs::write(&path, "").unwrap();
        assert_eq!(planned(path.to_str().unwrap()).unwrap().file, path);
    }

    fn said(change: impl Fn(&mut PeerView)) -> Vec<(State, String)> {
        let mut one = peer();
        change(&mut one);
        let found = of_links(&about(vec![peer(), one]));
        found.iter().map(|finding| (finding.state, finding.to_text())).collect()
    }

    #[test]
    fn a_link_that_cannot_carry_names_says_which_way_and_whose_turn_it_is() {
        let good = said(|_| {});
        assert!(matches!(&good[..], [(State::Good, text)] if text.contains("both ways")), "{good:?}");
        let mute = said(|peer| {
            (peer.accept, peer.is_answered) = (mode("values", "none", "none"), Some(false));
        });
        let (state, text) = &mute[0];
        assert_eq!(*state, State::Bad(Exit::Settings));
        assert!(
            text.contains("do not resolve here") && text.contains("there: `push`") && text.contains("there: `answers`"),
            "{text}"
        );
        assert!(!text.contains(" here: `"), "{text}");
        let deaf = said(|peer| (peer.push, peer.answers) = (mode("none", "values", "none"), false));
        assert!(
            deaf[0].1.contains("do not resolve there") && deaf[0].1.contains("here: `push`"),
            "{deaf:?}"
        );
        let asked = said(|peer| peer.accept = mode("none", "none", "none"));
        assert!(
            matches!(asked[..], [(State::Good, _)]),
            "what is not pushed is asked for: {asked:?}"
        );
        let lists = said(|peer| peer.filter = 7);
        assert!(lists[0].1.contains("only this side"), "{lists:?}");
        let away = said(|peer| peer.state = "backing off".to_owned());
        assert!(away[0].0 == State::Odd && away[0].1.contains("no link stands"), "{away:?}");
        let away = PeerView {
            state: "dialling".to_owned(),
            ..peer()
        };
        let alone: Vec<_> = of_links(&about(vec![away.clone(), away]))
            .into_iter()
            .map(|finding| finding.state)
            .collect();
        assert_eq!(alone, [State::Odd; 3]);
        let top = said(|peer| peer.relationship = "peer".to_owned());
        assert!(!top[0].1.contains("at the top"), "a mutual peer passes everything on: {top:?}");
    }
}
