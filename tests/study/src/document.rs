//! The document: the text of `document.md`, with a table of the figures in the place of each mark.

use crate::figures::{Form, Place, Quantiles, Row, Run, Shape, Study};
use crate::plots::lasting;

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
pub const PARTS: [(&str, PartOf); 10] = [
    ("short", short),
    ("runs", runs),
    ("puts", puts),
    ("gets", gets),
    ("stale", stale),
    ("riders", riders),
    ("rings", rings),
    ("population", population),
    ("digests", digests),
    ("missing", missing),
];

/// What the tables come to: sentences around figures, each only where its figures are.
fn short(study: &Study) -> String {
    let find = |place, shape: &dyn Fn(Shape) -> bool, form| {
        let rows = study.rows(place, false).filter(|row| shape(row.shape) && row.form == form);
        rows.max_by_key(|row| row.providers)
    };
    let mut lines = Vec::new();
    for place in [Place::Real, Place::World] {
        let (mutual, peers) = (
            find(place, &|shape| shape == Shape::Mesh, Form::Values),
            find(place, &|shape| shape == Shape::Peers, Form::Values),
        );
        if let (Some(mutual), Some(peers)) = (mutual, peers) {
            lines.push(format!(
                "- `values`, {} providers ({}) all linked: a put costs {} messages as `peer`s and {} as `mutual` peers.",
                mutual.providers,
                place.word(),
                number(peers.put_messages),
                number(mutual.put_messages)
            ));
        }
    }
    for place in [Place::Real, Place::World] {
        let digests = study
            .rows(place, false)
            .filter(|row| row.form == Form::Digest && row.shape == Shape::Mesh);
        for digest in digests.filter(|row| row.providers >= 16) {
            let none = study
                .rows(place, false)
                .find(|row| row.form == Form::None && row.shape == digest.shape && row.providers == digest.providers);
            let Some(none) = none else { continue };
            lines.push(format!(
                "- {} providers ({}) all linked: a get costs {} questions in the form `none` ({} are found), and {} in the form `digest` ({} \
                 are found): {} times fewer.",
                digest.providers,
                place.word(),
                number(none.get_messages),
                share(none.found),
                number(digest.get_messages),
                share(digest.found),
                number(none.get_messages / digest.get_messages)
            ));
        }
    }
    let is_random = |shape: Shape| matches!(shape, Shape::Random(_));
    let found: Vec<_> = Form::ALL
        .into_iter()
        .filter_map(|form| find(Place::World, &is_random, form))
        .map(|row| format!("{} in the form `{}`", share(row.found), row.form.word()))
        .collect();
    if let Some(row) = find(Place::World, &is_random, Form::Values) {
        lines.push(format!(
            "- {} providers with few links find {} of what is asked for.",
            row.providers,
            found.join(", ")
        ));
    }
    lines.join("\n")
}

fn runs(study: &Study) -> String {
    let row = |(part, run): (&String, &Run)| {
        vec![
            match part.as_str() {
                "real" => "real providers",
                "world" => "simulated providers",
                _ => "the trace alone",
            }
            .to_owned(),
            number(run.scale),
            run.names.to_string(),
            run.queries.to_string(),
            run.day.clone(),
            format!("`{}`", run.version),
        ]
    };
    table(
        &["part", "scale of the trace", "names", "queries", "last run", "version"],
        study.runs.iter().map(row),
    )
}

fn puts(study: &Study) -> String {
    let row = |row: &Row| {
        let own = [
            number(row.put_messages),
            number(row.put_bytes),
            number(row.held),
            maybe(row.held_bytes),
            maybe(row.put_cpu_us),
        ];
        network(row).into_iter().chain(own).collect()
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
        let own = [
            share(row.local),
            share(row.found),
            number(row.get_messages),
            maybe(row.get_bytes),
            time(row.latency_us, "µs"),
            maybe(row.get_cpu_us),
        ];
        network(row).into_iter().chain(own).collect()
    };
    let head = [
        "local",
        "found",
        "messages a get",
        "bytes a get",
        "latency p50 / p99",
        "CPU a get, all together, µs",
    ];
    of_networks(study, &head, row)
}

fn stale(study: &Study) -> String {
    let row = |row: &Row| {
        let own = [
            row.stale_ms.count.to_string(),
            time(row.stale_ms, "ms"),
            if row.unseen == 0 {
                "0".to_owned()
            } else {
                format!("**{}**", row.unseen)
            },
        ];
        network(row).into_iter().chain(own).collect()
    };
    of_networks(study, &["updates seen", "p50 / p99", "not seen while watched"], row)
}

fn riders(study: &Study) -> String {
    let mut rows = Vec::new();
    for place in [Place::Real, Place::World] {
        for row in study.rows(place, true) {
            let without = study
                .rows(place, false)
                .find(|one| one.form == row.form && one.providers == row.providers && one.shape == row.shape);
            let mut cells = network(row);
            cells.extend([
                row.riders.to_string(),
                share(row.found_of_givers),
                share(row.found),
                number(row.put_messages),
                maybe(without.map(|one| one.put_messages)),
                number(row.work),
                maybe(without.map(|one| one.work)),
            ]);
            rows.push(cells);
        }
    }
    let head = [
        "riders",
        "found, of names at those who give",
        "found, of all",
        "messages a put",
        "without riders",
        "work a get",
        "without riders",
    ];
    table(&[&NETWORK[..], &head].concat(), rows)
}

fn rings(study: &Study) -> String {
    let row = |ring: &crate::figures::Ring| {
        vec![
            ring.providers.to_string(),
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

fn population(study: &Study) -> String {
    let ttls: Vec<u64> = study
        .populations
        .iter()
        .take(1)
        .flat_map(|one| &one.hits)
        .map(|hit| hit.0)
        .collect();
    let mut head = vec!["clients behind one provider".to_owned(), "their queries".to_owned()];
    for ttl in &ttls {
        head.push(format!("own copies, {}", lasting(*ttl)));
        head.push("everybody's".to_owned());
    }
    let rows = study.populations.iter().map(|one| {
        let mut row = vec![share(one.clients), one.queries.to_string()];
        for (own, all) in one.hits.iter().zip(&one.together) {
            row.extend([share(own.1), share(all.1)]);
        }
        row
    });
    table(&head.iter().map(String::as_str).collect::<Vec<_>>(), rows)
}

fn digests(study: &Study) -> String {
    let mut rows = Vec::new();
    for place in [Place::Real, Place::World] {
        for digest in study.rows(place, false).filter(|row| row.form == Form::Digest) {
            let none = study
                .rows(place, false)
                .find(|row| row.form == Form::None && row.providers == digest.providers && row.shape == digest.shape);
            let Some(none) = none else { continue };
            let fewer = |all: Option<f64>, some: Option<f64>| match (all, some) {
                (Some(all), Some(some)) if some > 0.0 => format!("{}×", number(all / some)),
                (Some(all), Some(_)) if all > 0.0 => "none left".to_owned(),
                _ => UNKNOWN.to_owned(),
            };
            let mut cells = network(digest);
            cells.pop();
            cells.extend([
                share(none.found),
                share(digest.found),
                number(none.get_messages),
                number(digest.get_messages),
                fewer(Some(none.get_messages), Some(digest.get_messages)),
                maybe(none.absent_messages),
                maybe(digest.absent_messages),
                fewer(none.absent_messages, digest.absent_messages),
            ]);
            rows.push(cells);
        }
    }
    let head = [
        "found, `none`",
        "found, `digest`",
        "questions a get, `none`",
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
    if study.rows.iter().any(|row| row.held_bytes.is_none()) {
        lines.push("- What digests take in real providers' memory: it is not counted there. The simulated rows have it.".to_owned());
    }
    if study.rows.iter().any(|row| row.get_bytes.is_none()) {
        lines.push("- Bytes of gets between real providers: a provider does not count them apart from all that a link carries.".to_owned());
    }
    if study.runs.values().any(|run| run.scale < 1.0) {
        lines.push(
            "- The whole trace, where the scale above is less than 1: small parts have fewer unpopular names for each popular one."
                .to_owned(),
        );
    }
    lines.push("- Gets over DNS: all are HTTP.".to_owned());
    lines.push(
        "- Networks whose links have different forms, which a provider may have; losses; distances other than the world's.".to_owned(),
    );
    lines.push("- More than one machine: real providers here share two cores, so 16 of them wait for each other.".to_owned());
    lines.join("\n")
}

/// The columns that say which network a row is of.
const NETWORK: [&str; 3] = ["providers", "what", "form"];

fn network(row: &Row) -> Vec<String> {
    let what = format!("{}, {}", row.place.word(), row.shape.word());
    vec![row.providers.to_string(), what, format!("`{}`", row.form.word())]
}

fn of_networks(study: &Study, head: &[&str], row: impl Fn(&Row) -> Vec<String>) -> String {
    let rows = [Place::Real, Place::World].into_iter().flat_map(|place| study.rows(place, false));
    table(&[&NETWORK[..], head].concat(), rows.map(row))
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut lines = vec![line(&head), format!("|{}", "---|".repeat(head.len()))];
    lines.extend(rows.into_iter().map(|row| line(&row)));
    lines.join("\n")
}

fn share(value: f64) -> String {
    match value * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => format!("{percent:.2} %"),
        percent => format!("{percent:.1} %"),
    }
}

fn maybe(value: Option<f64>) -> String {
    value.map_or(UNKNOWN.to_owned(), number)
}

/// Three figures, and no more than are before the point.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn time(of: Quantiles, unit: &str) -> String {
    match of.count {
        0 => UNKNOWN.to_owned(),
        _ => format!("{} / {} {unit}", number(of.p50), number(of.p99)),
    }
}

/// In the place of what was not measured.
const UNKNOWN: &str = "–";
