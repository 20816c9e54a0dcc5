//! What the tables come to: sentences around figures, each only where its figures are, and in the words that they bear out.

use crate::figures::{Form, Place, Population, Row, Shape, Study};
use crate::numbers::{count, list, number, share, time};
use crate::plots::lasting;
use dialtone_provider::peering::limits::DIGEST_NAMES_MIN;

/// What an operator should choose, and why.
pub fn all(study: &Study) -> String {
    let of: [fn(&Study) -> Option<String>; 8] = [values, pointers, digest, none, saved, few_links, riders, copies];
    let said: Vec<_> = of.iter().filter_map(|of| of(study)).map(|said| format!("- {said}")).collect();
    said.join("\n")
}

/// The network to speak of: the largest of real providers that are all linked as peers, in this form and, to compare it with, in `values`.
fn example(study: &Study, form: Form) -> Option<(&Row, &Row)> {
    let rows = study
        .rows(Place::Real, false)
        .filter(|row| row.shape == Shape::Peers && row.form == form);
    let row = rows.max_by_key(|row| row.providers)?;
    Some((row, study.network(row.place, row.shape, row.providers, Form::Values)?))
}

fn values(study: &Study) -> Option<String> {
    let (row, _) = example(study, Form::Values)?;
    let mut said = format!(
        "**Where all are linked with all, push `values`, as `peer`s.** With {} real providers a put cost {} messages and {} bytes in all. For \
         that {} of gets were answered at home, half of them within {}; an update was seen elsewhere after {} (p50) and {} (p99); and {} of \
         the names that nobody has were known to be nobody's. The price is that a provider held {} records where {} were put.",
        row.providers,
        number(row.put_messages),
        number(row.put_bytes),
        share(row.local),
        time(row.latency_us.p50),
        time(row.stale_ms.p50 * 1e3),
        time(row.stale_ms.p99 * 1e3),
        share(row.absent_certain),
        number(row.held),
        count(row.run.names),
    );
    if let Some(mutual) = study.network(row.place, Shape::Mesh, row.providers, row.form) {
        let times = mutual.put_messages / row.put_messages;
        said += &if times > MORE {
            format!(
                " `mutual` peers sent {} messages for the same put, {} times as many: they are for networks in which not all are linked.",
                number(mutual.put_messages),
                number(times)
            )
        } else {
            format!(
                " `mutual` peers sent {} messages for the same put, which is as good.",
                number(mutual.put_messages)
            )
        };
    }
    Some(said)
}

fn pointers(study: &Study) -> Option<String> {
    let (row, values) = example(study, Form::Pointers)?;
    let held = row.held_bytes / values.held_bytes;
    Some(format!(
        "**`pointers` are for large records, and for keepers who want to see who reads.** With the same {} a put cost {} of the bytes that it \
         costs with `values`, and a provider kept {} of the bytes{}. {} of gets went to a peer.",
        row.providers,
        share(row.put_bytes / values.put_bytes),
        share(held),
        if held > 1.0 / MORE {
            ": for a record of one address, as here, a pointer saves no room"
        } else {
            ""
        },
        share(1.0 - row.local),
    ))
}

fn digest(study: &Study) -> Option<String> {
    let (row, values) = example(study, Form::Digest)?;
    let mut said = format!(
        "**`digest` is for many names that few ask for.** With the same {} a put cost {} of the bytes that it costs with `values`, and a \
         provider kept {} of the bytes. {} of gets asked a peer, {} messages a get; and what is copied may be as old as its TTL allows.",
        row.providers,
        share(row.put_bytes / values.put_bytes),
        share(row.held_bytes / values.held_bytes),
        share(1.0 - row.local),
        number(row.get_messages),
    );
    if row.held < DIGEST_NAMES_MIN as f64 {
        said += &format!(
            " (A digest has room for {} names at least, so with as few as here it is mostly empty: of the whole trace, see the storage below.)",
            count(DIGEST_NAMES_MIN)
        );
    }
    let gets = (values.put_bytes - row.put_bytes) / (row.get_bytes - values.get_bytes);
    if gets > 0.0 && gets.is_finite() {
        said += &format!(
            " In bytes, pushing records costs less as soon as a name is asked for more than {} times, everywhere together, for each time \
             that it is put.",
            number(gets)
        );
    }
    Some(said)
}

fn none(study: &Study) -> Option<String> {
    let rows = || {
        study
            .rows(Place::Real, false)
            .filter(|row| row.form == Form::None && row.shape == Shape::Mesh)
    };
    let (few, many) = (rows().min_by_key(|row| row.providers)?, rows().max_by_key(|row| row.providers)?);
    let mut said = format!(
        "**`none` is for two or three, or where nobody may know what one holds.** A get cost {} questions with {} providers and {} with {}, \
         where one for a name that nobody has cost {}; half of all gets took up to {} and {}.",
        number(few.get_messages),
        few.providers,
        number(many.get_messages),
        many.providers,
        number(many.absent_messages),
        time(few.latency_us.p50),
        time(many.latency_us.p50),
    );
    let simulated = study.rows(Place::World, false);
    let linked = simulated.filter(|row| row.form == Form::None && row.shape == Shape::Mesh);
    if let Some(most) = linked.max_by_key(|row| row.providers).filter(|row| row.found < 0.99) {
        said += &format!(
            " With {} (simulated) it found {} of what somebody had, since a question may cause only so many asks.",
            most.providers,
            share(most.found)
        );
    }
    Some(said)
}

/// Rows of digests, each with the one of the same network that asks all.
pub fn digests_and_none(study: &Study) -> impl Iterator<Item = (&Row, &Row)> {
    let rows = [Place::Real, Place::World].into_iter().flat_map(|place| study.rows(place, false));
    let digests = rows.filter(|row| row.form == Form::Digest);
    digests.filter_map(|row| Some((row, study.network(row.place, row.shape, row.providers, Form::None)?)))
}

fn saved(study: &Study) -> Option<String> {
    let factors: Vec<(&Row, f64)> = digests_and_none(study)
        .filter(|(digest, none)| digest.shape == Shape::Mesh && digest.get_messages > 0.0 && digest.found - none.found < 0.01)
        .map(|(digest, none)| (digest, none.get_messages / digest.get_messages))
        .collect();
    let of = |(row, factor): &(&Row, f64)| format!("{} with {} ({})", number(*factor), row.providers, row.place.word());
    let enough = factors
        .iter()
        .filter(|(_, factor)| *factor >= SAVED)
        .map(|(row, _)| row.providers)
        .min();
    let enough = match enough {
        Some(providers) => format!("It was {SAVED} and more from {providers} providers on"),
        None => format!("It was never {SAVED}"),
    };
    let named: Vec<_> = factors.iter().map(of).collect();
    (!named.is_empty()).then(|| {
        format!(
            "**Digests save nearly all questions but one.** The factor by which `digest` asked less than `none`, where all are linked and both found as much, was {}. \
             {enough}; since one question has to be asked for what a peer has, it cannot be much more than there are peers.",
            list(&named)
        )
    })
}

fn few_links(study: &Study) -> Option<String> {
    let rows = study.rows(Place::World, false).filter(|row| matches!(row.shape, Shape::Random(_)));
    let most = rows.max_by_key(|row| row.providers)?;
    let of = |form| study.network(Place::World, most.shape, most.providers, form);
    let found: Vec<_> = Form::ALL
        .into_iter()
        .filter_map(of)
        .map(|row| format!("{} with `{}`", share(row.found), row.form.word()))
        .collect();
    let (values, digest) = (of(Form::Values)?, of(Form::Digest)?);
    let advice = if values.found - digest.found > 0.01 {
        ": a digest tells of what the peer itself keeps and of nobody behind it, and a question may cause only so many asks. \
             Where not all are linked, what is not pushed may not be found"
            .to_owned()
    } else {
        String::new()
    };
    Some(format!(
        "**Where few are linked, push.** Of {} simulated providers with few links each, gets found {} of what somebody had{advice}.",
        count(most.providers),
        list(&found)
    ))
}

fn riders(study: &Study) -> Option<String> {
    let most = study.rows(Place::Real, true).max_by_key(|row| row.providers)?;
    let rows: Vec<&Row> = study
        .rows(Place::Real, true)
        .filter(|row| row.providers == most.providers)
        .collect();
    let least = rows.iter().map(|row| row.found_of_givers).reduce(f64::min)?;
    let changes = rows.iter().filter_map(|row| {
        let without = study.network(row.place, row.shape, row.providers, row.form)?;
        (without.work > 0.0).then(|| row.work / without.work - 1.0)
    });
    let worst = changes.fold(0.0, f64::max);
    let all = rows.iter().map(|row| row.found).reduce(f64::min)?;
    Some(format!(
        "**Free-riders harm themselves.** With {} of {} taking and not giving, the others' names were found as before (in every form at least {} \
         of gets), and one that gives answered at most {} more questions a get. What was put at the free-riders was found nowhere else, so of \
         all gets {} succeeded: who publishes there has no reach.",
        most.riders,
        most.providers,
        share(least),
        share(worst),
        share(all),
    ))
}

fn copies(study: &Study) -> Option<String> {
    let whole = study.populations.first()?;
    let part = study.populations.get(4).unwrap_or(whole);
    let of: Vec<_> = whole
        .hits
        .iter()
        .zip(&part.hits)
        .map(|(all, some)| format!("{} and {} ({})", share(some.1), share(all.1), lasting(all.0)))
        .collect();
    Some(format!(
        "**Copies do not take the place of pushing.** Of the whole trace, a provider's own copies answered, with {} of all clients behind it and \
         with all of them: {}.",
        share(part.clients),
        list(&of)
    ))
}

/// What passing on costs.
pub fn passing_on(study: &Study) -> String {
    let rows = [Place::Real, Place::World].into_iter().flat_map(|place| study.rows(place, false));
    let mutual = rows.filter(|row| row.shape == Shape::Mesh && row.form == Form::Values);
    let both = mutual.filter_map(|row| Some((row, study.network(row.place, Shape::Peers, row.providers, row.form)?)));
    let said = both.map(|(mutual, peers)| {
        format!(
            "{} and {} with {} ({})",
            number(mutual.put_messages),
            number(peers.put_messages),
            mutual.providers,
            mutual.place.word()
        )
    });
    format!("`mutual` and `peer`, messages of a put: {}.", list(&said.collect::<Vec<_>>()))
}

/// Which updates were not seen, and why.
pub fn unseen(study: &Study) -> String {
    let rows = || [Place::Real, Place::World].into_iter().flat_map(|place| study.rows(place, false));
    let unseen: Vec<&Row> = rows().filter(|row| row.unseen > 0).collect();
    if unseen.is_empty() {
        return "Every update was seen.".to_owned();
    }
    let all_random = unseen.iter().all(|row| matches!(row.shape, Shape::Random(_)));
    let why = if all_random {
        " All of these are networks of few links, where questions have to find the way, and may cause only so many asks.".to_owned()
    } else {
        String::new()
    };
    format!(
        "In {} of {} networks not every update was seen while it was watched.{why}",
        unseen.len(),
        rows().count()
    )
}

/// How the share of copies grows with clients.
pub fn growth(study: &Study) -> String {
    let clients = &study.populations;
    let ([large, half, ..], [.., small, smallest]) = (clients.as_slice(), clients.as_slice()) else {
        return String::new();
    };
    let said = large.hits.iter().enumerate().filter_map(|(index, (ttl, _))| {
        let hit = |one: &Population| one.hits.get(index).map(|hit| hit.1);
        let doubling =
            |more: &Population, less: &Population| Some((hit(more)? - hit(less)?) * 100.0 / (more.clients / less.clients).log2());
        let (few, many) = (doubling(small, smallest)?, doubling(large, half)?);
        let shape = match many / few {
            ratio if ratio < 1.0 => "it flattens",
            ratio if ratio < 1.5 => "it grows as the logarithm does",
            _ => "it is still getting steeper",
        };
        let copies = lasting(*ttl);
        Some(format!(
            "{} at the small end and {} at the large one ({copies}: {shape})",
            number(few),
            number(many)
        ))
    });
    let said: Vec<_> = said.collect();
    format!("Points that one more doubling of clients brings: {}.", list(&said))
}

/// So many times as much is not about the same.
const MORE: f64 = 1.2;
/// The factor that Summary Cache reports at least.
const SAVED: f64 = 25.0;
