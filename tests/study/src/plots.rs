//! Which plots there are, and what is on them.

use crate::Error;
use crate::figures::{Form, Place, Population, Row, Shape, Study};
use crate::plot::{Axis, Entry, Line, Plot};
use std::path::Path;

/// The plots: file, what it shows, in the order of the document.
pub fn all(study: &Study) -> Vec<(&'static str, Plot)> {
    let by = |title, label, is_log, of: &dyn Fn(&Row) -> Option<f64>| Plot {
        title,
        x: Axis {
            label: "providers",
            is_log: true,
        },
        y: Axis { label, is_log },
        lines: lines(study, of),
        legend: legend(),
    };
    vec![
        (
            "put-messages.svg",
            by("What a put costs, in messages", "feed entries a put", true, &|row| {
                Some(row.put_messages)
            }),
        ),
        (
            "put-bytes.svg",
            by("What a put costs, in bytes", "bytes of feeds a put", true, &|row| {
                Some(row.put_bytes)
            }),
        ),
        (
            "get-messages.svg",
            by("What a get costs, in messages", "questions a get", true, &|row| {
                Some(row.get_messages)
            }),
        ),
        (
            "storage.svg",
            by("What a provider stores", "bytes held a provider", true, &|row| Some(row.held_bytes)),
        ),
        (
            "local.svg",
            by("Gets answered without asking a peer", "share of gets", false, &|row| {
                Some(row.local)
            }),
        ),
        (
            "latency.svg",
            by("How long 99 of 100 gets take at most", "microseconds", true, &|row| {
                Some(row.latency_us.p99)
            }),
        ),
        (
            "staleness.svg",
            by(
                "From a put until another provider has it, 99 of 100",
                "milliseconds",
                true,
                // Where more than one in a hundred was never seen there is no such time.
                &|row| (row.unseen * 99 <= row.stale_ms.count).then_some(row.stale_ms.p99),
            ),
        ),
        ("population.svg", population(study)),
    ]
}

/// Writes them all.
///
/// # Errors
/// The folder cannot be written.
pub fn draw(study: &Study, folder: &Path) -> Result<(), Error> {
    for (file, plot) in all(study) {
        std::fs::write(folder.join(file), plot.to_svg())?;
    }
    Ok(())
}

/// The ways in which providers were linked, with their dashes.
const KINDS: [(Place, usize, &str, &str); 5] = [
    (Place::Real, 0, "", "processes, mutual"),
    (Place::Real, 1, "12 3", "processes, peers"),
    (Place::World, 0, "6 3", "simulated, mutual"),
    (Place::World, 1, "7 3 2 3", "simulated, peers"),
    (Place::World, 2, "2 3", "simulated, few links"),
];

/// Which of the ways a shape is.
fn kind(shape: Shape) -> usize {
    match shape {
        Shape::Mesh => 0,
        Shape::Peers => 1,
        Shape::Random(_) => 2,
    }
}

/// A line for each form and way of linking, of rows where all give.
fn lines(study: &Study, of: &dyn Fn(&Row) -> Option<f64>) -> Vec<Line> {
    let mut lines = Vec::new();
    for form in Form::ALL {
        for (place, shape, dash, _) in KINDS {
            let rows = study.rows(place, false).filter(|row| row.form == form && kind(row.shape) == shape);
            let points: Vec<_> = rows.filter_map(|row| Some((row.providers as f64, of(row)?))).collect();
            if !points.is_empty() {
                lines.push(Line {
                    colour: colour(form),
                    dash,
                    points,
                });
            }
        }
    }
    lines
}

/// Forms by colour, then ways of linking by dash.
fn legend() -> Vec<Entry> {
    let forms = Form::ALL.map(|form| (form.word(), colour(form), ""));
    let kinds = KINDS.map(|(_, _, dash, what)| (what, "black", dash));
    let entry = |(label, colour, dash): (&str, _, _)| Entry {
        label: label.to_owned(),
        colour,
        dash,
    };
    forms.into_iter().chain(kinds).map(entry).collect()
}

fn population(study: &Study) -> Plot {
    let ttls = study.populations.first().map(|first| first.hits.clone()).unwrap_or_default();
    let mut lines = Vec::new();
    let mut legend = Vec::new();
    for (index, (ttl, _)) in ttls.into_iter().enumerate() {
        let points = |of: fn(&Population) -> &Vec<(u64, f64)>| {
            let at = |one: &Population| Some((one.clients * 100.0, of(one).get(index)?.1));
            let mut points: Vec<_> = study.populations.iter().filter_map(at).collect();
            points.reverse();
            points
        };
        let colour = ["#0072B2", "#009E73", "#E69F00"][index % 3];
        for (dash, what, points) in [
            ("", "own copies", points(|one| &one.hits)),
            ("2 3", "everybody's", points(|one| &one.together)),
        ] {
            legend.push(Entry {
                label: format!("{what}, {}", lasting(ttl)),
                colour,
                dash,
            });
            lines.push(Line { colour, dash, points });
        }
    }
    Plot {
        title: "Names found in copies, by how many clients share them",
        x: Axis {
            label: "percent of all clients behind one provider",
            is_log: true,
        },
        y: Axis {
            label: "share of queries",
            is_log: false,
        },
        lines,
        legend,
    }
}

/// A TTL in words.
pub fn lasting(ttl: u64) -> String {
    match ttl {
        0 => "kept for ever".to_owned(),
        ttl => format!("TTL {ttl} s"),
    }
}

/// Colours that colour-blind people tell apart.
fn colour(form: Form) -> &'static str {
    match form {
        Form::Values => "#0072B2",
        Form::Pointers => "#009E73",
        Form::Digest => "#E69F00",
        Form::None => "#CC79A7",
    }
}
