//! What others count already, read when somebody asks: links with peers, and DNS.

use crate::io::audit::Auditor;
use crate::io::evidence::Evidence;
use crate::io::peering::PeeringHandle;
use crate::io::peering::ask::Asking;
use crate::peering::ask::tally::PeerTally;
use crate::peering::audit::Finding;
use crate::peering::health::{LinkState, LinkStatus, PeerStatus};
use crate::service::watch::board::Board;
use dialtone_resolver::dns::latency::{LATENCY_BOUNDS_MICROS, LatencyCounts};
use dialtone_resolver::dns::{Carrier, Frontend};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::fmt;
use std::sync::Arc;

/// The links with peers.
#[derive(Debug)]
pub struct Links(pub Arc<PeeringHandle>);

/// What peers are asked, and ask.
#[derive(Debug)]
pub struct Questions(pub Arc<Asking>);

/// The wrongs that can be proved.
#[derive(Debug)]
pub struct Wrongs(pub Arc<Evidence>);

/// What audits found of peers.
#[derive(Debug)]
pub struct Audits(pub Arc<Auditor>);

/// The DNS frontend.
#[derive(Debug)]
pub struct Dns(pub Arc<Frontend>);

/// Who watches names.
#[derive(Debug)]
pub struct Watchers(pub Arc<Board>);

impl Collector for Watchers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (watchers, names) = self.0.count();
        for (name, help, value) in [
            ("dialtone_watchers", "Connections on which names are watched", watchers),
            ("dialtone_watched_names", "Names watched, counted once for each watcher", names),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?;
        }
        Ok(())
    }
}

impl Collector for Links {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let peers = self.0.peers();
        let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
        // Of a peer that is away it is not known, and 0 would look well.
        let lags = peers.iter().filter(|peer| peer.state == LinkState::Up);
        family(
            &mut encoder,
            "dialtone_peer_lag",
            "Positions of our log that the peer has not acknowledged, while the link stands",
            gauge,
            lags.map(|peer| ([("peer", peer.name.to_string())], peer.progress.lag)),
        )?;
        let digests = peers.iter().filter_map(|peer| Some((peer.name, self.0.digest_of(&peer.name)?)));
        family(
            &mut encoder,
            "dialtone_peer_digest_bytes",
            "Bytes that the peer's digest takes here, where it pushes one",
            gauge,
            digests.map(|(peer, digest)| ([("peer", peer.to_string())], digest.size_bytes() as u64)),
        )?;
        let nodes = |value: fn(&LinkStatus) -> u64| {
            let of_peer = move |peer: &PeerStatus| {
                let name = peer.name.to_string();
                let row = move |link: &LinkStatus| Some(([("peer", name.clone()), ("node", link.node_text()?)], value(link)));
                peer.links.iter().filter_map(row).collect::<Vec<_>>()
            };
            peers.iter().flat_map(of_peer)
        };
        family(
            &mut encoder,
            "dialtone_node_lag",
            "Positions of our log that a node of the peer has not acknowledged, while the link with it stands",
            gauge,
            nodes(|link| link.progress.lag),
        )?;
        family(
            &mut encoder,
            "dialtone_node_caught_up",
            "Whether we have all that a node of the peer has for us, while the link with it stands",
            gauge,
            nodes(|link| u64::from(link.progress.received_all)),
        )?;
        let mut write = |name, help, kind, value: fn(&PeerStatus) -> u64| {
            let rows = peers.iter().map(|peer| ([("peer", peer.name.to_string())], value(peer)));
            family(&mut encoder, name, help, kind, rows)
        };
        write("dialtone_peer_up", "Whether a link with the peer stands", gauge, |peer| {
            u64::from(peer.state == LinkState::Up)
        })?;
        write("dialtone_peer_nodes", "Nodes of the peer with which a link stands", gauge, |peer| {
            peer.links.iter().filter(|link| link.state == LinkState::Up).count() as u64
        })?;
        write(
            "dialtone_peer_caught_up",
            "Whether we have all that the peer has for us",
            gauge,
            |peer| u64::from(peer.progress.received_all),
        )?;
        write("dialtone_peer_links", "Links that stood", counter, |peer| peer.progress.links)?;
        write("dialtone_peer_records_sent", "Records sent, repeats too", counter, |peer| {
            peer.progress.records_sent
        })?;
        write("dialtone_peer_pointers_sent", "Pointers sent, repeats too", counter, |peer| {
            peer.progress.pointers_sent
        })?;
        write("dialtone_peer_mentions_sent", "Names mentioned for our digest", counter, |peer| {
            peer.progress.mentions_sent
        })?;
        write("dialtone_peer_bytes_sent", "Bytes of frames sent", counter, |peer| {
            peer.progress.bytes_sent
        })?;
        write(
            "dialtone_peer_request_bytes_sent",
            "Bytes of requests and of responses sent, beside the feed",
            counter,
            |peer| peer.progress.request_bytes_sent,
        )?;
        write(
            "dialtone_peer_records_received",
            "Records that arrived, repeats too",
            counter,
            |peer| peer.progress.records_received,
        )?;
        write("dialtone_peer_bytes_received", "Bytes of frames that arrived", counter, |peer| {
            peer.progress.bytes_received
        })?;
        write(
            "dialtone_peer_records_stored",
            "Records that arrived and were kept",
            counter,
            |peer| peer.progress.received.stored,
        )?;
        write(
            "dialtone_peer_records_refused",
            "Records that arrived and were refused",
            counter,
            |peer| peer.progress.received.refused,
        )?;
        write(
            "dialtone_peer_records_invalid",
            "Records that arrived and are none, or are not by the key of their name",
            counter,
            |peer| peer.progress.invalid,
        )?;
        write(
            "dialtone_peer_records_limited",
            "Records of new names that a limit of the agreement kept out",
            counter,
            |peer| peer.progress.received.limited,
        )?;
        write(
            "dialtone_peer_verify_micros",
            "Microseconds of a core spent on checking the peer's signatures",
            counter,
            |peer| u64::try_from(peer.progress.verify_time.as_micros()).unwrap_or(u64::MAX),
        )?;
        write(
            "dialtone_peer_limit",
            "How near the peer is to its limit of names: 0 well, 1 near, 2 full",
            gauge,
            |peer| peer.brought.level as u64,
        )?;
        write(
            "dialtone_peer_takes_all",
            "Whether the peer takes all that we have for it: 0 while a limit of its own keeps something out",
            gauge,
            |peer| u64::from(peer.theirs.as_ref().is_none_or(|theirs| theirs.takes_all)),
        )
    }
}

impl Collector for Questions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let tally = self.0.tally();
        let mut write = |name, help, value: fn(&PeerTally) -> u64| {
            let rows = tally.peers.iter().map(|(peer, tally)| ([("peer", peer.to_string())], value(tally)));
            family(&mut encoder, name, help, MetricType::Counter, rows)
        };
        write("dialtone_peer_asked", "Times that the peer was asked for a name", |peer| peer.asked)?;
        write("dialtone_peer_asked_hedged", "Of these, because another was slow", |peer| {
            peer.hedged
        })?;
        write("dialtone_peer_answered", "Answers that came from the peer", |peer| peer.answered)?;
        write("dialtone_peer_answer_hits", "Of these, records", |peer| peer.hits)?;
        write(
            "dialtone_peer_digest_false_positives",
            "Times that the peer's digest had a name that it did not have",
            |peer| peer.false_positives,
        )?;
        write(
            "dialtone_peer_answers_failed",
            "Answers that did not come or said nothing",
            |peer| peer.failed,
        )?;
        write(
            "dialtone_peer_answers_wrong",
            "Answers that were no record of the name, or older than what the peer was told of",
            |peer| peer.wrong,
        )?;
        write(
            "dialtone_peer_questions_served",
            "The peer's own questions that were answered",
            |peer| peer.served,
        )?;
        write(
            "dialtone_peer_questions_refused",
            "The peer's own questions that were refused",
            |peer| peer.refused,
        )?;
        for (name, help, count) in [
            ("dialtone_questions", "Names that peers were asked for", tally.questions),
            (
                "dialtone_questions_coalesced",
                "Questions that joined one under way",
                tally.coalesced,
            ),
            (
                "dialtone_questions_unknown",
                "Questions that ended without anything certain",
                tally.unknown,
            ),
            (
                "dialtone_questions_turned_away",
                "Questions beyond those that may be under way",
                tally.turned_away,
            ),
            ("dialtone_copy_hits", "Gets answered by a copy of what a peer gave", tally.copy_hits),
            (
                "dialtone_negative_hits",
                "Gets answered by what was not found a moment ago",
                tally.negative_hits,
            ),
            (
                "dialtone_pointers_dropped",
                "Pointers to what their keeper did not have",
                tally.pointers_dropped,
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, ConstCounter::<u64>::TYPE)?)?;
        }
        Ok(())
    }
}

impl Collector for Wrongs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.counts();
        let proved = [("equivocation", counts.equivocations), ("broken-promise", counts.promises)];
        family(
            &mut encoder,
            "dialtone_wrongs_proved",
            "Wrongs that were proved, each once",
            MetricType::Counter,
            proved.into_iter().map(|(kind, count)| ([("kind", kind.to_owned())], count)),
        )?;
        for (name, help, count) in [
            ("dialtone_proofs_dropped", "Proofs that there was no room for", counts.dropped),
            (
                "dialtone_proofs_invalid",
                "What peers sent as proofs and proves nothing",
                counts.invalid,
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, ConstCounter::<u64>::TYPE)?)?;
        }
        Ok(())
    }
}

impl Collector for Audits {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let found = self.0.findings();
        let rows = found.iter().flat_map(|(peer, findings)| {
            let row =
                move |(finding, count): (&Finding, &u64)| ([("peer", peer.to_string()), ("finding", finding.as_str().to_owned())], *count);
            findings.iter().map(row)
        });
        let help = "Second opinions that were asked for, by what they came to";
        family(&mut encoder, "dialtone_peer_audits", help, MetricType::Counter, rows)
    }
}

impl Collector for Dns {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.counts();
        let codes = ["noerror", "formerr", "servfail", "nxdomain", "notimp", "refused", "other"];
        let rows = codes
            .iter()
            .zip(counts.by_rcode)
            .map(|(code, count)| ([("rcode", (*code).to_owned())], count));
        family(
            &mut encoder,
            "dialtone_dns_answers",
            "DNS answers, by code",
            MetricType::Counter,
            rows,
        )?;
        let errors = counts.by_extended_error;
        let last = errors.len() - 1;
        let code = |code: usize| if code == last { "other".to_owned() } else { code.to_string() };
        let rows = errors.into_iter().enumerate().filter(|(_, count)| *count > 0);
        family(
            &mut encoder,
            "dialtone_dns_extended_errors",
            "DNS answers with an extended error, by its code (RFC 8914)",
            MetricType::Counter,
            rows.map(|(nth, count)| ([("code", code(nth))], count)),
        )?;
        latency(&mut encoder, &self.0.latency())?;
        if let Some(log) = self.0.query_log() {
            let rows = ["written", "dropped"].into_iter().zip(log.counts());
            family(
                &mut encoder,
                "dialtone_dns_query_log_lines",
                "Lines for the log of questions: written, and dropped because the disk did not keep up",
                MetricType::Counter,
                rows.map(|(outcome, count)| ([("outcome", outcome.to_owned())], count)),
            )?;
        }
        let rows = Carrier::ALL
            .iter()
            .zip(counts.by_carrier)
            .map(|(carrier, count)| ([("transport", carrier.as_str().to_owned())], count));
        family(
            &mut encoder,
            "dialtone_dns_questions",
            "DNS messages that came, by transport",
            MetricType::Counter,
            rows,
        )?;
        let rows = ["truncated", "dropped"]
            .iter()
            .zip(counts.limited)
            .map(|(how, count)| ([("how", (*how).to_owned())], count));
        family(
            &mut encoder,
            "dialtone_dns_limited",
            "DNS answers by UDP to networks beyond their rate: sent without data, or not at all",
            MetricType::Counter,
            rows,
        )?;
        for (name, help, count) in [
            ("dialtone_dns_dropped", "DNS messages that got no answer", counts.dropped),
            (
                "dialtone_dns_denied",
                "DNS questions of networks that are not answered",
                counts.denied,
            ),
            (
                "dialtone_dns_unsearched",
                "Questions that others were not asked for, of networks that had others asked too often",
                counts.unsearched,
            ),
            ("dialtone_dns_truncated", "DNS answers that were truncated", counts.truncated),
            ("dialtone_dns_hot", "DNS answers that were kept as they are sent", counts.hot),
            ("dialtone_dns_forwarded", "Questions for upstream resolvers", counts.forwarded),
            (
                "dialtone_dns_upstream_sent",
                "Messages sent to upstream resolvers",
                counts.upstream_sent,
            ),
            (
                "dialtone_dns_upstream_unwanted",
                "Messages by UDP in the name of upstream resolvers that were no reply to what was asked",
                counts.upstream_unwanted,
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, ConstCounter::<u64>::TYPE)?)?;
        }
        for (name, help, value) in [
            ("dialtone_dns_kept", "DNS answers that are kept as they are sent", counts.kept),
            (
                "dialtone_dns_kept_bytes",
                "What the DNS answers that are kept take",
                counts.kept_bytes,
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, ConstGauge::<i64>::TYPE)?)?;
        }
        Ok(())
    }
}

/// How long DNS answers took.
fn latency(encoder: &mut DescriptorEncoder<'_>, ways: &[LatencyCounts]) -> fmt::Result {
    let help = "Time from when a question was read until its answer was there to be sent, by transport and by where the answer came from";
    let mut metric = encoder.encode_descriptor("dialtone_dns_answer_seconds", help, None, MetricType::Histogram)?;
    let bounds = LATENCY_BOUNDS_MICROS
        .iter()
        .map(|&micros| micros as f64 / 1e6)
        .chain([f64::INFINITY]);
    for way in ways {
        let labels = [("transport", way.carrier.as_str()), ("found", way.found.as_str())];
        let buckets: Vec<_> = bounds.clone().zip(way.buckets).collect();
        let count = way.buckets.iter().sum();
        metric
            .encode_family(&labels)?
            .encode_histogram::<NoLabelSet>(way.sum_micros as f64 / 1e6, count, &buckets, None)?;
    }
    Ok(())
}

/// One metric with a row for each set of labels.
fn family<const LABELS: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    rows: impl Iterator<Item = ([(&'static str, String); LABELS], u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in rows {
        let row = metric.encode_family(&labels)?;
        match kind {
            MetricType::Counter => ConstCounter::new(value).encode(row)?,
            _ => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(row)?,
        }
    }
    Ok(())
}
