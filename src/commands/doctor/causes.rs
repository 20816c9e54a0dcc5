//! What to do about a link that does not stand: whose turn it is, by what went wrong.

use crate::control::{About, PeerView};

/// What somebody has to do so that the link with `peer` stands, from the one that is most likely to help.
pub fn remedies(about: &About, peer: &PeerView) -> Vec<String> {
    let here = &about.name;
    let listen = about.peering.map_or_else(|| "HOST:PORT".to_owned(), |listen| listen.to_string());
    let again = "it is dialled again by itself; if that does not help within a minute, look at its log and at this one's".to_owned();
    let address = format!("dialtone peer add {} --address HOST:PORT", peer.name);
    match peer.cause.as_deref() {
        Some("no-agreement") => vec![format!(
            "its operator makes the other half of the agreement: give it the line that `dialtone peer invite` prints, or have it run \
             `dialtone peer add {here}@{listen}` with an address at which it reaches this provider"
        )],
        Some("disagreement") => {
            vec!["one of the two operators changes the agreement: `dialtone peer add NAME --relationship WHAT`".to_owned()]
        }
        Some("wrong-name") => vec![
            format!("another provider answers at that address. If it moved: `{address}`"),
            "if it has another key now, ask its operator for its name, and make an agreement with that one".to_owned(),
        ],
        Some("bad-proof") => {
            vec!["its operator looks at its key: `identity.key` is not in force for its name, or somebody pretends to be it".to_owned()]
        }
        Some("version") => vec!["whoever runs the older version brings it up to date".to_owned()],
        Some("clock") => vec!["set both clocks by NTP: one of them is wrong".to_owned()],
        Some("protocol" | "invalid-records") => {
            vec!["it is left alone for a while. Tell its operator what its log and this one's say: it is broken, or it attacks".to_owned()]
        }
        Some("store") => vec!["look at the disk of whoever closed the link: it can store nothing".to_owned()],
        Some("stopping") => vec!["its operator stopped it: it is dialled again by itself".to_owned()],
        Some("duplicate" | "hold" | "busy" | "changed") => vec![again],
        _ if peer.addresses.is_empty() => vec![
            format!("it has no address here, so it is to connect to {listen}: its agreement needs an address at which it reaches that"),
            format!("or, if it can be reached, dial it from here: `{address}`"),
        ],
        Some("network") => vec![
            "is it up, and does UDP pass to that address and back? Firewalls that let TCP pass often do not".to_owned(),
            format!("if its address is another by now: `{address}`"),
        ],
        Some(_) | None => vec![again],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::network::tests::peer;

    #[test]
    fn what_helps_depends_on_what_went_wrong() {
        let about = About {
            name: "here".to_owned(),
            peering: "192.0.2.1:4381".parse().ok(),
            file: "p.toml".into(),
            peers: Vec::new(),
        };
        let said = |cause: Option<&str>, addresses: &[&str]| {
            let peer = PeerView {
                cause: cause.map(str::to_owned),
                addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
                ..peer()
            };
            remedies(&about, &peer).join("; ")
        };
        for (cause, says) in [
            (Some("no-agreement"), "peer add here@192.0.2.1:4381"),
            (Some("disagreement"), "--relationship"),
            (Some("wrong-name"), "another provider answers"),
            (Some("clock"), "NTP"),
            (Some("network"), "UDP"),
            (Some("busy"), "by itself"),
            (None, "by itself"),
        ] {
            assert!(said(cause, &["a:1"]).contains(says), "{cause:?}: {}", said(cause, &["a:1"]));
        }
        assert!(said(None, &[]).contains("connect to 192.0.2.1:4381"), "{}", said(None, &[]));
    }
}
