//! The document: the text of `document.md`, with what the figures say in the place of each mark.

use crate::figures::{Form, Place, Row, Run, Shape, Stored, Study};
use crate::findings;
use crate::numbers::{UNKNOWN, count, list, maybe, number, share, table, times};
use crate::plots::lasting;
use std::collections::BTreeSet;

/// Writes it.
pub fn write(study: &Study) -> String {
    let mut text = include_str!("document.md").to_owned();
    for (mark, of) in PARTS {
        text = text.replace(&format!("{{{{{mark}}}}}"), &of(study));
    }
    text
}

type PartOf = fn(&Study) -> String;

/// What stands where.
pub const PARTS: [(&str, PartOf); 15] = [
    ("findings", findings::all),
    ("runs", runs),
    ("noise", noise),
    ("passing_on", findings::passing_on),
    ("puts", puts),
    ("gets", gets),
    ("stale", stale),
    ("unseen", findings::unseen),
    ("riders", riders),
    ("rings", rings),
    ("stored", stored),
    ("population", population),
    ("growth", findings::growth),
    ("digests", digests),
    ("missing", missing),
];

fn runs(study: &Study) -> String {
    let mut parts: Vec<(&str, &Run, BTreeSet<usize>)> = Vec::new();
    for row in &study.rows {
        let what = match row.place {
            Place::Real => "real providers",
            Place::World => "simulated providers",
        };
        match parts.iter_mut().find(|part| part.0 == what && part.1 == &row.run) {
            Some(part) => {
                part.2.insert(row.providers);
            }
            None => parts.push((what, &row.run, BTreeSet::from([row.providers]))),
        }
    }
    parts.extend(study.trace.iter().map(|run| ("the trace alone", run, BTreeSet::new())));
    let rows = parts.into_iter().map(|(what, run, providers)| {
        let providers: Vec<_> = providers.into_iter().map(count).collect();
        vec![
            what.to_owned(),
            if providers.is_empty() {
                UNKNOWN.to_owned()
            } else {
                list(&providers)
            },
            number(run.scale),
            count(run.names),
            count(run.queries),
            run.day.clone(),
            format!("`{}`", run.version),
        ]
    });
    table(
        &["part", "networks of", "scale of the trace", "names", "queries", "day", "version"],
        rows,
    )
}

/// How much of the machine others had, which is what absolute times are to be judged by.
fn noise(study: &Study) -> String {
    let others: Vec<f64> = study.rows.iter().filter_map(|row| row.others_cpu).collect();
    let most = others.iter().copied().fold(0.0, f64::max);
    let noisy = others.iter().filter(|share| **share > NOISY).count();
    match (others.len(), noisy) {
        (0, _) => "What else the machine had to do meanwhile is not known.".to_owned(),
        (_, 0) => format!("While gets were made, other programs had at most {} of the machine.", share(most)),
        (all, noisy) => format!(
            "While gets were made, other programs had up to {} of the machine. Of {all} networks {noisy} were disturbed by more than {}: their \
             times are marked † and are longer than those of a machine that is left alone.",
            share(most),
            share(NOISY)
        ),
    }
}

/// The share of the machine from which on times are those of a noisy one.
const NOISY: f64 = 0.05;

fn mark(row: &Row) -> &'static str {
    if row.others_cpu.is_some_and(|others| others > NOISY) {
        " †"
    } else {
        ""
    }
}

fn puts(study: &Study) -> String {
    let row = |row: &Row| {
        vec![
            number(row.put_messages),
            number(row.put_bytes),
            number(row.held),
            number(row.held_bytes),
            maybe(row.put_cpu_us),
        ]
    };
    let head = [
        "messages a put",
        "bytes a put",
        "records held a provider",
        "bytes held a provider",
        "CPU a put, all together, µs",
    ];
    of_networks(study, &head, row)
}

fn gets(study: &Study) -> String {
    let row = |row: &Row| {
        vec![
            share(row.local),
            share(row.found),
            number(row.get_messages),
            number(row.get_bytes),
            times(row.latency_us, 1.0) + mark(row),
            maybe(row.get_cpu_us),
            number(row.absent_messages),
            share(row.absent_certain),
        ]
    };
    let head = [
        "local",
        "found",
        "messages a get",
        "bytes a get",
        "latency p50 / p99",
        "CPU a get, all together, µs",
        "messages a get of nobody's name",
        "nobody's for certain",
    ];
    of_networks(study, &head, row)
}

fn stale(study: &Study) -> String {
    let row = |row: &Row| {
        let unseen = match row.unseen {
            0 => "0".to_owned(),
            unseen => format!("**{unseen}**"),
        };
        vec![row.stale_ms.count.to_string(), times(row.stale_ms, 1e3) + mark(row), unseen]
    };
    of_networks(study, &["updates seen", "p50 / p99", "not seen while watched"], row)
}

fn riders(study: &Study) -> String {
    let rows = [Place::Real, Place::World].into_iter().flat_map(|place| study.rows(place, true));
    let row = |row: &Row| {
        let without = study.network(row.place, row.shape, row.providers, row.form);
        let own = [
            row.riders.to_string(),
            share(row.found_of_givers),
            share(row.found),
            number(row.put_messages),
            maybe(without.map(|one| one.put_messages)),
            number(row.get_messages),
            maybe(without.map(|one| one.get_messages)),
            number(row.work),
            maybe(without.map(|one| one.work)),
        ];
        network(row).into_iter().chain(own).collect()
    };
    let head = [
        "riders",
        "found, of names at those who give",
        "found, of all",
        "messages a put",
        "without riders",
        "messages a get",
        "without riders",
        "work a get",
        "without riders",
    ];
    table(&[&NETWORK[..], &head].concat(), rows.map(row))
}

fn rings(study: &Study) -> String {
    let row = |ring: &crate::figures::Ring| {
        vec![
            count(ring.providers),
            share(ring.puts_crossing),
            share(ring.gets_crossing),
            number(ring.held),
            number(ring.busiest),
        ]
    };
    let head = [
        "providers",
        "puts kept by another provider",
        "gets served by another provider",
        "records held a provider",
        "gets at the busiest, to the average",
    ];
    table(&head, study.rings.iter().map(row))
}

fn stored(study: &Study) -> String {
    let forms = Form::ALL.map(|form| format!("`{}`", form.word()));
    let head: Vec<&str> = ["providers"].into_iter().chain(forms.iter().map(String::as_str)).collect();
    let row = |one: &Stored| [one.providers].into_iter().chain(one.bytes).map(count).collect();
    table(&head, study.stored.iter().map(row))
}

fn population(study: &Study) -> String {
    let first = study.populations.first();
    let mut head = vec!["clients behind one provider".to_owned(), "their queries".to_owned()];
    for (ttl, _) in first.map(|first| first.hits.as_slice()).unwrap_or_default() {
        head.push(format!("own copies, {}", lasting(*ttl)));
        head.push("everybody's".to_owned());
    }
    let rows = study.populations.iter().map(|one| {
        let mut row = vec![share(one.clients), count(one.queries)];
        for (own, all) in one.hits.iter().zip(&one.together) {
            row.extend([share(own.1), share(all.1)]);
        }
        row
    });
    table(&head.iter().map(String::as_str).collect::<Vec<_>>(), rows)
}

fn digests(study: &Study) -> String {
    let fewer = |all: f64, some: f64| match some {
        0.0 if all > 0.0 => "none left".to_owned(),
        0.0 => UNKNOWN.to_owned(),
        some => format!("{}×", number(all / some)),
    };
    let rows = findings::digests_and_none(study).map(|(digest, none)| {
        let [providers, what, _] = network(digest);
        vec![
            providers,
            what,
            share(none.found),
            share(digest.found),
            number(none.get_messages),
            number(digest.get_messages),
            fewer(none.get_messages, digest.get_messages),
            number(none.absent_messages),
            number(digest.absent_messages),
            fewer(none.absent_messages, digest.absent_messages),
        ]
    });
    let head = [
        "found, `none`",
        "found, `digest`",
        "messages a get, `none`",
        "`digest`",
        "fewer",
        "of a name nobody has, `none`",
        "`digest`",
        "fewer",
    ];
    table(&[&NETWORK[..NETWORK.len() - 1], &head].concat(), rows)
}

/// What a reader may look for in vain, as the figures have it.
fn missing(study: &Study) -> String {
    let mut lines = Vec::new();
    for (place, what) in [(Place::Real, "Real"), (Place::World, "Simulated")] {
        for form in Form::ALL {
            if !study.rows(place, false).any(|row| row.form == form) {
                lines.push(format!("- {what} providers in the form `{}`.", form.word()));
            }
        }
    }
    let scales = study.rows.iter().map(|row| row.run.scale);
    if let Some(most) = scales.reduce(f64::max).filter(|most| *most < 1.0) {
        lines.push(format!(
            "- The whole trace between providers: at most {} of it. A part has as many queries a second for fewer names, so that copies are \
             found more often than in the whole; how often that would be is in the table of hit rate against population.",
            share(most)
        ));
    }
    if study.rows.iter().any(|row| matches!(row.shape, Shape::Random(_))) {
        lines.push("- Few links between real providers, and few links with free-riders.".to_owned());
    }
    lines.push("- Gets over DNS: all are HTTP.".to_owned());
    lines.push(
        "- Networks whose links have different forms, which a provider may have; losses; distances other than the world's.".to_owned(),
    );
    lines.push("- More than one machine: real providers here share one, so 16 of them wait for each other.".to_owned());
    lines.join("\n")
}

/// The columns that say which network a row is of.
const NETWORK: [&str; 3] = ["providers", "what", "form"];

fn network(row: &Row) -> [String; 3] {
    let what = format!("{}, {}", row.place.word(), row.shape.word());
    [count(row.providers), what, format!("`{}`", row.form.word())]
}

fn of_networks(study: &Study, head: &[&str], own: impl Fn(&Row) -> Vec<String>) -> String {
    let rows = [Place::Real, Place::World].into_iter().flat_map(|place| study.rows(place, false));
    let row = |row: &Row| network(row).into_iter().chain(own(row)).collect();
    table(&[&NETWORK[..], head].concat(), rows.map(row))
}
